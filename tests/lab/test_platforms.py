"""What a node is: of the RPM family, of another architecture; and what it is told where that cannot be had."""

import os
import shutil

import pytest

from patchwave_lab import scenario
from patchwave_lab.errors import LabError
from patchwave_lab.nodes import rpm_root

SCENARIO = """
accounts: ["111111111111"]
regions: [eu-west-1]
settings: {consistency_seconds: 0}
nodes:
  - {name: rocky, platform: Rocky, files: {/etc/yum.repos.d/own.repo: "[own]\\nname=own\\nbaseurl=file:///srv/repo\\nenabled=0\\n"}}
  - {name: amazon, platform: Amazon Linux}
  - {name: debian}
"""
#: A package with a script in shell, and one that wants what is not there.
PACKAGES = r"""
cd /var/tmp
for name in tool odd; do
    printf 'Name: %s\nVersion: 1\nRelease: 1\nSummary: t\nLicense: t\nBuildArch: noarch\n' $name > $name.spec
    [ $name = tool ] || echo 'Requires: not-there' >> $name.spec
    printf '%%description\nt\n%%post\necho ran > /var/tmp/post\n%%files\n' >> $name.spec
    rpmbuild -bb --quiet --define="_rpmdir /var/tmp" $name.spec
done
"""


@pytest.fixture(scope="module")
def family(new_lab, tmp_path_factory):
    missing = [tool for tool in rpm_root.TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (make system)")
    file = tmp_path_factory.mktemp("scenario") / "platforms.yml"
    file.write_text(SCENARIO)
    lab = new_lab()
    lab.must("up", "--scenario", str(file))
    return lab


def sh(lab, name, script):
    done = lab.cli("exec", name, "--", "sh", "-c", script)
    return done.stdout + done.stderr


@pytest.mark.needs_root
def test_what_is_reported_is_what_runs(family):
    listed = family.client("ssm").describe_instance_information()["InstanceInformationList"]
    reported = {each["ComputerName"]: (each["PlatformName"], each["PlatformVersion"]) for each in listed}
    look = '. /etc/os-release; echo "$NAME|$VERSION_ID|$ID"'
    assert reported["rocky"] == ("Rocky Linux", "9.4")
    assert reported["amazon"] == ("Amazon Linux", "2023")
    assert sh(family, "rocky", look) == "Rocky Linux|9.4|rocky\n"
    assert sh(family, "amazon", look) == "Amazon Linux|2023|amzn\n"


@pytest.mark.needs_root
def test_debians_tools_are_hidden_and_rpm_has_a_database_of_its_own(family):
    gone = "which dpkg apt-get apt; ls -d /var/lib/dpkg /etc/apt /etc/debian_version 2>/dev/null; rpm -qa"
    assert sh(family, "rocky", gone) == "patchwave-lab-base-9.4-1.x86_64\n".replace("x86_64", os.uname().machine)
    assert sh(family, "debian", "dpkg-query -W -f '${Status}' dpkg") == "install ok installed"


@pytest.mark.needs_root
def test_no_repository_of_this_machine_is_there(family):
    assert sh(family, "rocky", "ls /etc/yum.repos.d; dnf -q repolist --all | tail -n +2").split()[:2] == [
        "own.repo",
        "own",
    ]
    assert "No repositories available" in sh(family, "amazon", "yum repolist")


@pytest.mark.needs_root
def test_rpm_and_dnf_install_what_fits_and_refuse_what_does_not(family):
    family.must("exec", "rocky", "--", "sh", "-ec", PACKAGES)
    assert "not-there is needed by odd-1-1" in sh(family, "rocky", "rpm -i /var/tmp/noarch/odd-1-1.noarch.rpm")
    assert "nothing provides not-there" in sh(family, "rocky", "dnf -y install /var/tmp/noarch/odd-1-1.noarch.rpm")
    said = sh(family, "rocky", "dnf -y install /var/tmp/noarch/tool-1-1.noarch.rpm && cat /var/tmp/post; rpm -q tool")
    assert "Complete!" in said
    assert said.endswith("ran\ntool-1-1.noarch\n")
    assert sh(family, "amazon", "rpm -q tool") == "package tool is not installed\n"


@pytest.mark.needs_root
def test_a_reset_gives_the_root_back(family):
    family.must("exec", "rocky", "--", "sh", "-c", "rpm -e --nodeps --justdb patchwave-lab-base; rm /etc/os-release")
    family.must("reset")
    assert "Rocky Linux" in sh(family, "rocky", "rpm -q patchwave-lab-base && cat /etc/os-release")


def test_without_dnf_or_root_it_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool == "dnf" else tool)
    with pytest.raises(LabError, match=r"a real node of the RPM family needs dnf \(Debian packages rpm and dnf\)"):
        rpm_root.check()
    monkeypatch.setattr(shutil, "which", lambda tool: tool)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root; run the lab as root, or make the node virtual"):
        rpm_root.check()


def test_a_real_node_has_this_machines_architecture():
    own = {"x86_64": "x86_64", "aarch64": "arm64"}[os.uname().machine]
    head = 'accounts: ["111111111111"]\nregions: [eu-west-1]\n'
    assert scenario.parse("x", head + "nodes: [{name: a}]\n").nodes[0].architecture == own
    other = {"x86_64": "arm64", "arm64": "x86_64"}[own]
    said = f"x: nodes\\[0\\].architecture: a real node has this machine's, {own}; only a virtual one can be {other}"
    with pytest.raises(LabError, match=said):
        scenario.parse("x", head + f"nodes: [{{name: a, architecture: {other}}}]\n")
