"""Services: processes of a node that outlive commands, as callers of `systemctl` and `service` expect them."""

import pytest

from patchwave_lab import processes

SCENARIO = r"""
accounts: ["111111111111"]
regions: [eu-west-1]
settings: {consistency_seconds: 0}
nodes:
  - name: n1
    files:
      /etc/patchwave-lab/enabled: "boots\n"
      /etc/default/app: "COLOUR=red\n"
      /usr/local/bin/app: "#!/bin/sh\necho started $COLOUR $SHADE; exec sleep 1000\n"
      /etc/systemd/system/app.service: |
        [Unit]
        Description=An app
        [Service]
        EnvironmentFile=-/etc/default/app
        Environment=SHADE=dark
        ExecStart=/usr/local/bin/app
        Restart=on-failure
        RestartSec=0.1
      /etc/systemd/system/boots.service: "[Service]\nExecStart=/bin/sleep 1001\n"
      /etc/systemd/system/once.service: "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
      /etc/systemd/system/broken.service: "[Service]\nExecStart=/no/such\n"
      /etc/systemd/system/lost.service: "[Service]\nExecStart=/bin/sh -c 'exit 3'\nRestart=always\nRestartSec=0\n"
      /etc/init.d/old: "#!/bin/sh\necho old $1\n"
  - {name: n2}
"""


@pytest.fixture(scope="module")
def node(new_lab, tmp_path_factory):
    file = tmp_path_factory.mktemp("scenario") / "services.yml"
    file.write_text(SCENARIO)
    lab = new_lab()
    lab.must("up", "--scenario", str(file))
    return lab


def sh(lab, script, name="n1"):
    done = lab.cli("exec", name, "--", "sh", "-c", script)
    return done.stdout.strip(), done.returncode


def test_an_enabled_service_starts_with_the_node(node):
    assert sh(node, "systemctl is-active boots") == ("active", 0)
    assert sh(node, "systemctl is-enabled boots app") == ("enabled\ndisabled", 0)


def test_a_service_outlives_the_command_that_started_it(node):
    assert node.run_one("n1", "systemctl start app")["Status"] == "Success"
    node.eventually(lambda: node.runs("sleep", "1000"))
    one = node.run_one("n1", "systemctl is-active app; pgrep -c -f '^sleep 1000'")
    assert one["StandardOutputContent"] == "active\n1\n"
    assert sh(node, "pgrep -c -f '^sleep 1000'", "n2")[0] == "0"


def test_restart_gives_a_new_process_and_stop_ends_it(node):
    pid = "systemctl show --property=MainPID --value app"
    first, _ = sh(node, f"systemctl start app; {pid}")
    second, _ = sh(node, f"service app restart; {pid}")
    assert first != second
    assert first != "0"
    assert sh(node, "service app stop; systemctl is-active app") == ("inactive", 3)
    assert sh(node, f"pgrep -f '^sleep 1000'; {pid}") == ("0", 0)


def test_environment_comes_from_unit_and_file(node):
    sh(node, "systemctl restart app")
    assert "started red dark" in sh(node, "cat /var/log/patchwave-lab-services.log")[0]


def test_a_service_that_dies_is_restarted_if_its_unit_says_so(node):
    pid = "systemctl show --property=MainPID --value app"
    first, _ = sh(node, f"systemctl restart app; pid=$({pid}); kill -9 $pid && echo $pid")
    assert first
    node.eventually(lambda: sh(node, pid)[0] not in (first, "0") and node.runs("sleep", "1000") == 1)
    assert sh(node, "systemctl is-active app") == ("active", 0)


def test_a_service_that_dies_too_often_is_failed(node):
    sh(node, "systemctl start lost")
    node.eventually(lambda: sh(node, "systemctl is-active lost")[0] == "failed")


@pytest.mark.parametrize(
    ("command", "said", "code"),
    [
        ("systemctl start nobody 2>&1", "Failed to start nobody.service: Unit nobody.service not found.", 5),
        ("systemctl status nobody 2>&1", "Unit nobody.service could not be found.", 4),
        ("systemctl show -p LoadState --value nobody", "not-found", 0),
        ("systemctl show --property=LoadState --value app.service", "loaded", 0),
        ("systemctl is-active nobody", "inactive", 3),
        ("systemctl start once && systemctl is-active once", "active", 0),
        ("systemctl enable --now once && systemctl is-enabled once", "enabled", 0),
        ("systemctl disable once && systemctl is-enabled once", "disabled", 1),
        ("systemctl daemon-reload", "", 0),
        ("service old status", "old status", 0),
        ("service nobody start 2>&1", "nobody: unrecognized service", 1),
        ("test -d /run/systemd/system && echo managed", "managed", 0),
    ],
)
def test_callers_get_systemds_words_and_codes(node, command, said, code):
    assert sh(node, command) == (said, code)


def test_a_program_that_is_missing_fails_the_start(node):
    said, code = sh(node, "systemctl start broken 2>&1")
    assert (code, "control process exited with error code" in said) == (1, True)
    assert sh(node, "systemctl is-failed broken") == ("failed", 0)


def test_a_changed_unit_counts_from_the_next_start(node):
    sh(node, "systemctl stop app; sed -i s/dark/light/ /etc/systemd/system/app.service; systemctl start app")
    node.eventually(lambda: "started red light" in sh(node, "tail -1 /var/log/patchwave-lab-services.log")[0])


def test_a_reboot_ends_all_processes_and_gives_a_new_boot_id_and_uptime(node):
    look = "cat /proc/sys/kernel/random/boot_id; cut -d. -f1 /proc/uptime"
    before, age = sh(node, "touch /tmp/gone /run/gone /var/tmp/kept; setsid sleep 1002 >/dev/null 2>&1 & " + look)[
        0
    ].split()
    assert int(age) > 800_000
    assert sh(node, "reboot; sleep 100")[1] != 0
    after, age = sh(node, look)[0].split()
    assert before != after
    assert int(age) < 30
    assert sh(node, "pgrep -c -f '^sleep 100[02]'")[0] == "0"
    assert sh(node, "systemctl is-active boots app")[0] == "active\ninactive"
    assert sh(node, "ls -d /tmp/gone /run/gone /var/tmp/kept 2>/dev/null")[0] == "/var/tmp/kept"


def test_no_zombies_pile_up(node):
    sh(node, "for i in 1 2 3; do (setsid sh -c 'sleep 0.1' &); done")
    node.eventually(lambda: not node.runs("sleep", "0.1"))
    node.eventually(lambda: sh(node, "ps ax -o stat= | grep -c Z")[0] == "0")


def test_reset_and_down_end_services(node):
    node.must("reset")
    assert processes.inside(node.dir) == []
    assert sh(node, "systemctl is-active boots app")[0] == "active\ninactive"
    node.must("down")
    assert processes.inside(node.dir) == []
