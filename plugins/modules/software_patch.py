#!/usr/bin/python
# Copyright (c) 2026 Patchwave contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Patch one third-party program on the node this runs on."""

from __future__ import annotations

DOCUMENTATION = r"""
module: software_patch
short_description: Patch one third-party program as one transaction
version_added: 0.1.0
author:
  - "Patchwave contributors (@patchwave)"
description:
  - Brings one program on the managed node to a version that is not vulnerable, from a file with a known checksum.
  - Of an archive, versions live side by side in O(dest); the link C(current) in it is switched in one step.
  - The new version must pass its health check and report its version through the probe. Otherwise the old version is
    put back and proven in the same way.
  - Killed at any point, the next run finishes or undoes what was begun. The node is always at exactly one version.
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
    details:
      - Nothing is downloaded, so what is wrong with a file shows in the real run only, such as a wrong checksum or a
        package that needs others.
  diff_mode:
    support: full
    description: Will return details on what has changed (or possibly needs changing in check_mode), when in diff mode.
  idempotent:
    support: full
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
options:
  name:
    description:
      - Name of the program in logs, reports and state files.
      - Up to 64 letters, digits and C(._+-), the first a letter or digit.
      - Exactly one of O(name) and O(definitions) is required.
    type: str
  fixed_in:
    description:
      - First version that is not vulnerable. A node at this version or a higher one is left alone.
      - Quote versions in YAML, or V(1.10) becomes the number 1.1.
      - Numbers compare as numbers; a leading C(v) does not count.
      - C(rc1), C(-beta), C(a1) and C(-SNAPSHOT) sort before the release. C(p1), C(-IF1) and a single letter without a
        number, as in C(1.1.1w), sort after it.
      - Builds, as C(+k3s2), C(.redhat-00002) and C(.jre7), count where this option has one.
      - What a rule cannot place is refused. A word that is not known here is an error, and a node whose version has no
        order with this one fails (C(probe_failed)).
      - Required with O(name).
    type: str
  <<: &definition
    versioning:
      description:
        - How versions compare.
        - V(auto) is V(dpkg) or V(rpm) with packages, by the node's own family, and V(dotted) with all other kinds.
        - V(semver) and V(pep440) follow Semantic Versioning and Python's packaging.
        - V(openssl) is for its letters (C(1.0.2u) before C(1.0.2za)), V(java) for C(8u202), C(1.8.0_202) and
          C(11.0.2+9).
        - With V(dpkg) and V(rpm) an epoch that only one side has is refused, unless it is the package database that
          says none.
      type: str
      choices: [auto, dotted, dpkg, rpm, semver, pep440, openssl, java]
      default: auto
    archive:
      description:
        - The archive that holds the fixed version, unpacked into a folder of its own below O(dest).
        - A definition has exactly one of O(archive), O(binary), O(package_file), O(package), O(files), O(installer) and
          O(command).
      type: dict
      suboptions:
        <<: &source
          url:
            description:
              - Where to read it, as an https, http or file URL or as an absolute path on the managed node.
              - An s3 URL needs M(patchwave.aws.run_module) with C(presign=true), since nodes have no AWS rights. Over
                other connections M(patchwave.aws.presigned_url) takes its place. The role
                P(patchwave.aws.patch_software#role) does either.
              - It may be a presigned URL and is a secret. It is in no result, log or journal.
            type: str
            required: true
          mirrors:
            description: Where else to read it, tried in turn when the URL gives no file with the checksum.
            type: list
            elements: str
            default: []
          sha256:
            description: Its SHA-256 checksum in 64 hexadecimal digits. Nothing is used that does not match.
            type: str
            required: true
          version:
            description: The version it carries, which must be O(fixed_in) or higher and is what the probe must report.
            type: str
            required: true
          signature:
            description:
              - A detached OpenPGP signature of the file in ASCII, as C(gpg --armor --detach-sign) makes it.
              - The node proves it with C(public_key) alone and its own C(gpgv), which comes with apt and with GnuPG.
              - Without it the checksum alone decides.
            type: str
          public_key:
            description: The public key in ASCII that must have signed the file, as C(gpg --armor --export) prints it.
            type: str
          variants:
            description: Other files for some nodes. The first that fits the node takes the place of the URL.
            type: list
            elements: dict
            default: []
            suboptions:
              architecture:
                description: The processor as C(uname -m) says it, such as V(x86_64) or V(aarch64).
                type: str
              platform:
                description:
                  - C(ID), a word of C(ID_LIKE), or C(ID) and C(VERSION_ID) with a hyphen of C(/etc/os-release).
                  - For example V(debian), V(rhel) or V(ubuntu-24.04).
                type: str
              url:
                description: As beside the variants.
                type: str
                required: true
              sha256:
                description: As beside the variants.
                type: str
                required: true
              signature:
                description: Of this file, by the same key.
                type: str
          proxy:
            description: URL of the HTTP proxy to download through. Otherwise that of the node's environment is used.
            type: str
          ca_path:
            description: File on the node with the certificates that sign those of the server.
            type: path
        strip:
          description: How many leading parts to remove from each path in the archive.
          type: int
          default: 0
        format:
          description:
            - V(auto) looks at the content. V(tar) reads plain, gzip, bzip2, xz and zstd archives.
            - For zstd the node needs Python 3.14 or the program C(zstd) (C(command_missing)).
            - Zip files must be stored or deflated.
          type: str
          choices: [auto, tar, zip]
          default: auto
        layout:
          description:
            - V(versions) unpacks into a folder of its own below O(dest) and points a link to it.
            - V(in_place) puts each file of the archive in the place of the one in O(dest), each by one rename. The old
              files are saved beside them until the new version is proven. A file keeps the owner and mode of the one it
              replaces.
          type: str
          choices: [versions, in_place]
          default: versions
        preserve:
          description:
            - Globs below O(dest) of files that stay as they are where they are there, such as V(conf/*.xml) or V(conf).
            - A folder that is there stays as a whole, and nothing is added to it, so what an administrator has removed
              from it does not come back. One that is a link is left alone with all behind it.
            - With O(archive.layout=in_place).
          type: list
          elements: str
          default: []
        remove:
          description:
            - Globs below O(dest) of files that go unless the archive has them, such as V(lib/*.jar).
            - With O(archive.layout=in_place); files that no glob names stay.
          type: list
          elements: str
          default: []
        links:
          description:
            - Absolute paths of links outside of O(dest), such as C(/usr/local/bin/just), that lead into an old version.
            - From the switch on they lead to the same file through the link C(current). A roll back puts them back.
            - A path without anything is passed over. Refused are one that is no link, one that leads to a file that the
              new version does not have (C(dest_conflict)), and one in a folder that others than root may change
              (C(unsafe_folder)).
            - With O(archive.layout=versions).
          type: list
          elements: path
          default: []
        outside_links:
          description:
            - Globs of absolute paths that links in the archive may lead to, such as C(/etc/pki/java/*).
            - They match whole paths, and C(*) also matches C(/).
            - A link to O(dest) itself needs no such leave. Others to absolute paths are refused (C(unsafe_archive)).
          type: list
          elements: str
          default: []
    binary:
      description:
        - A program that is one file, such as C(kubectl) or C(jq), at the path O(dest). It is replaced by one rename.
        - Owner, mode, capabilities and other attributes of the old file are kept. A new one has mode 0755.
        - Where O(dest) is a link, the file is replaced that it leads to.
        - The old file is kept until the new version is proven, and then removed.
      type: dict
      suboptions:
        <<: *source
    package_file:
      description:
        - A Debian or RPM package that holds the fixed version.
        - The old version is put back from a package that is kept aside. It is the one that this module has installed,
          else on Debian one made from what is installed, and for RPM one from the node's caches or repositories.
      type: dict
      suboptions:
        <<: *source
        package:
          description: Name of the package, where it is not O(name).
          type: str
        format:
          description: V(auto) is what the node uses for itself.
          type: str
          choices: [auto, deb, rpm]
          default: auto
        way_back:
          description:
            - Whether there must be a package to put the old version back from.
            - With V(required) a node where it cannot be had ends as V(failed) with V(no_way_back), untouched.
            - With V(none) it is used where it can be had. Elsewhere a failure after the switch ends as
              V(rollback_failed), at whatever version there is then.
            - It matters with RPM; a Debian package can always be made again from what is installed.
          type: str
          choices: [required, none]
          default: required
        ignore_hold:
          description:
            - Whether to patch a package that an administrator holds at its version, by C(apt-mark hold), the plugin
              versionlock of dnf or yum, C(exclude) in their configuration, or C(zypper addlock).
            - Without it such a node ends as V(failed) with V(held), untouched. A hold stays in any case.
          type: bool
          default: false
        lock_timeout:
          description: Seconds to wait for another program that changes packages.
          type: int
          default: 300
        timeout:
          description: Seconds the package manager may take for one change.
          type: int
          default: 900
    package:
      description:
        - A pinned version of a package from a repository, by apt, dnf (or yum) or zypper, whichever the node has.
        - It is downloaded first and then treated as a O(package_file). A version that needs other packages changed is
          refused before the node is touched.
      type: dict
      suboptions:
        package:
          description: Name of the package, where it is not O(name).
          type: str
        version:
          description: The version in full, as the repository lists it. It must be O(fixed_in) or higher.
          type: str
          required: true
        repository:
          description:
            - The vendor's repository, used for this download alone. Without it, the repositories of the node are used.
          type: dict
          suboptions:
            url:
              description:
                - Its URL; of an RPM repository that of the folder with C(repodata).
                - It may hold a password and is a secret.
              type: str
              required: true
            suite:
              description: Suite of a Debian repository.
              type: str
              default: stable
            components:
              description: Components of a Debian repository.
              type: list
              elements: str
              default: [main]
            key:
              description: The public OpenPGP key in ASCII that must have signed the repository (apt) or package (RPM).
              type: str
              required: true
        proxy:
          description: URL of the HTTP proxy to download through. Otherwise that of the node's settings is used.
          type: str
        way_back:
          description:
            - Whether there must be a package to put the old version back from.
            - With V(required) a node where it cannot be had ends as V(failed) with V(no_way_back), untouched.
            - With V(none) it is used where it can be had. Elsewhere a failure after the switch ends as
              V(rollback_failed), at whatever version there is then.
            - It matters with RPM; a Debian package can always be made again from what is installed.
          type: str
          choices: [required, none]
          default: required
        ignore_hold:
          description:
            - Whether to patch a package that an administrator holds at its version, by C(apt-mark hold), the plugin
              versionlock of dnf or yum, C(exclude) in their configuration, or C(zypper addlock).
            - Without it such a node ends as V(failed) with V(held), untouched. A hold stays in any case.
          type: bool
          default: false
        lock_timeout:
          description: Seconds to wait for another program that changes packages.
          type: int
          default: 300
        timeout:
          description: Seconds the package manager may take for one change or download.
          type: int
          default: 900
    files:
      description:
        - Copies of one file, wherever they are, also inside jar, war, ear and zip files and those inside them.
        - All with a checksum in O(files.vulnerable) are replaced in place; names and all else stay as they are.
        - The version of the node is the lowest among the copies with a known checksum. Without any it is not installed.
        - A copy that cannot be judged keeps the node from being V(current), see RV(unknown_copies). Such are copies
          with unknown checksums, those outside of the paths to which a link leads, and zip files that are damaged,
          encrypted, nested more than 5 deep or larger than is sane.
      type: dict
      suboptions:
        <<: *source
        paths:
          description:
            - Absolute paths of the folders to search, which may be globs.
            - C(/proc), C(/sys), C(/dev) and C(/run) are never searched. What is behind a link that leads elsewhere is
              only looked at, and told when it is vulnerable or unknown.
          type: list
          elements: path
          required: true
        exclude:
          description: Absolute paths of folders, files and links that are not searched.
          type: list
          elements: path
          default: []
        name:
          description: Glob that names of files must match to be looked at, such as V(log4j-core-*.jar).
          type: str
          required: true
        vulnerable:
          description: The files to replace.
          type: list
          elements: dict
          required: true
          suboptions:
            sha256:
              description: Checksum in 64 hexadecimal digits.
              type: str
              required: true
            version:
              description: Its version, lower than O(fixed_in).
              type: str
              required: true
        accepted:
          description:
            - Checksums, in 64 hexadecimal digits each, of files that O(files.name) matches and that are not vulnerable.
            - They are passed over. One that is in O(files.vulnerable) too is an error.
          type: list
          elements: str
          default: []
    installer:
      description:
        - A vendor's own script or binary that installs the fixed version.
        - The word C({installer}) in its arguments and in O(installer.undo) stands for its path.
        - The file keeps its name, the last part of the URL's path, where that has letters, digits and C(._+-) alone.
      type: dict
      suboptions:
        <<: *source
        interpreter:
          description: Program and arguments before the installer's path, such as V(sh). Without it, it is executed.
          type: list
          elements: str
          default: []
        arguments:
          description: Arguments after it. No secrets, for they are in the journal.
          type: list
          elements: str
          default: []
        undo:
          description:
            - Program and arguments that put the old version back.
            - It must bear to be run twice, and to be run when the installer did not come far.
          type: list
          elements: str
          required: true
        run_as:
          description:
            - The user who runs O(installer.undo), such as V(app). The installer itself runs as the user of this module.
            - Without it this module's user does, and one that another user could change is refused (V(run_as_failed)).
          type: str
        timeout:
          description: Seconds each of the two may take; then it is killed with all that it started.
          type: int
          default: 900
    command:
      description: Any command that brings the fixed version, where no other kind fits.
      type: dict
      suboptions:
        command:
          description: Program and arguments; no shell is involved. No secrets, for they are in the journal.
          type: list
          elements: str
          required: true
        version:
          description: The version it brings, which must be O(fixed_in) or higher and is what the probe must report.
          type: str
          required: true
        undo:
          description: As O(installer.undo).
          type: list
          elements: str
          required: true
        run_as:
          description:
            - The user who runs both, such as V(app).
            - Without it this module's user does, and one that another user could change is refused (V(run_as_failed)).
          type: str
        timeout:
          description: Seconds each of the two may take; then it is killed with all that it started.
          type: int
          default: 900
    dest:
      description:
        - Absolute path of the folder of all versions, such as C(/opt/just). It belongs to this program alone.
        - The archive is unpacked into a folder named after its version. The link C(current) points to that in use.
        - With O(archive.layout=in_place), the folder whose files are replaced.
        - With O(binary), the path of the file.
        - Required with O(archive) and O(binary).
      type: path
    probe:
      description:
        - How to learn the version on the node.
        - Required with O(archive), O(binary), O(installer) and O(command).
        - Packages are asked of their database and files are searched; leave it out there.
      type: dict
      suboptions:
        command:
          description:
            - Program and arguments; no shell is involved. It should run the program through the link in O(dest).
            - A program that is not there means that the software is not installed. Where one of its name is elsewhere
              on PATH, or runs, the node ends as V(unsupported) with V(installed_elsewhere).
          type: list
          elements: str
          required: true
        pattern:
          description:
            - Regular expression with one group around the version, searched in the first 64 KiB of its output.
            - The default takes whole words that begin with a dotted number, with all marks (C(8.2.0RC7)). Where it
              finds two different ones, or a mark apart from it (C(1.2 RC1)), the node fails and a pattern is needed.
            - A pattern of your own must take the marks too. What it leaves out does not count, and of several matches
              the first one does.
          type: str
          default: >-
            (?<![0-9.])((?:[0-9]{1,9}[:!])?[0-9]+(?:\.[0-9]+)+(?:[\w.+~^-]*\w)?)
        run_as:
          description:
            - The user who runs it, such as V(app).
            - Without it this module's user does. Where that is root and another user could change the program, or a
              file or folder among its arguments, that user does.
          type: str
        timeout:
          description: Seconds after which it is killed.
          type: int
          default: 10
    health:
      description:
        - How to learn that the program works. Without it the probe alone decides.
        - Needs exactly one of O(health.command), O(health.http) and O(health.port).
      type: dict
      suboptions:
        command:
          description: Program and arguments; no shell is involved. Exit code 0 means healthy.
          type: list
          elements: str
        run_as:
          description: The user who runs O(health.command), as O(probe.run_as).
          type: str
        http:
          description: A page that the program answers with. No proxy is used.
          type: dict
          suboptions:
            url:
              description: An http or https URL, as the node sees it. It is in no result, log or journal.
              type: str
              required: true
            status:
              description: The HTTP status that means healthy.
              type: int
              default: 200
            pattern:
              description: Regular expression that must match somewhere in the first 64 KiB of the page.
              type: str
            validate_certs:
              description: Whether the server's certificate must be trusted.
              type: bool
              default: true
        port:
          description: A TCP port that must take connections.
          type: int
        host:
          description: Where O(health.port) is.
          type: str
          default: 127.0.0.1
        retries:
          description: How often to try again after a failure.
          type: int
          default: 3
        delay:
          description: Seconds between tries.
          type: float
          default: 1.0
        timeout:
          description: Seconds after which one try is killed.
          type: int
          default: 10
    services:
      description:
        - The services of the program, in the order in which they start; they stop in the reverse order.
        - Those that do not run are not started. All must be on the node.
      type: list
      elements: dict
      default: []
      suboptions:
        name:
          description: The name of the systemd unit or the System V script, or any name with commands.
          type: str
          required: true
        manager:
          description: V(auto) is V(commands) where they are given, else V(systemd) where it runs, else V(sysv).
          type: str
          choices: [auto, systemd, sysv, commands]
          default: auto
        restart:
          description:
            - V(around) stops the service before the switch and starts it after.
            - V(after) restarts it after the switch, which makes the outage shorter.
          type: str
          choices: [around, after]
          default: around
        start:
          description: Program and arguments that start it; needs O(services[].stop) and O(services[].status) too.
          type: list
          elements: str
        stop:
          description: Program and arguments that stop it.
          type: list
          elements: str
        status:
          description: Program and arguments that end with 0 while it runs.
          type: list
          elements: str
        run_as:
          description:
            - The user who runs these commands, such as V(app).
            - Without it this module's user does, and one that another user could change is refused (V(run_as_failed)).
          type: str
        timeout:
          description: Seconds it may take to stop, and again to start.
          type: int
          default: 60
    old_processes:
      description:
        - What to do about processes that still run or map files of the old version after services have been started.
        - An interpreter that was started before the switch counts by the paths in its arguments and in variables such
          as C(CLASSPATH), and by the folder it works in; every process by a jar or the like that it has open.
        - V(fail) rolls back, V(restart) restarts the systemd services they belong to and fails when some are still
          left, V(ignore) leaves them.
        - Not restarted are D-Bus, logins, services of users, and the one that this module runs in.
      type: str
      choices: [fail, restart, ignore]
      default: fail
    unsafe_processes:
      description:
        - Names of processes that must not be disturbed, such as a backup. While one runs, the node ends as V(skipped).
      type: list
      elements: str
      default: []
    latest_start:
      description:
        - A moment such as V(2026-11-22T04:00:00Z), with its zone, after which nothing is begun.
        - It is checked on the node once it has its lock, and again before services are stopped.
        - An interrupted earlier run is finished or undone at any time.
      type: str
    keep:
      description:
        - How many old versions to keep. V(0) keeps none once the new one is proven.
        - Of a version only files are removed that its archive brought and nobody has changed. What else is in its
          folder stays and is told, and so does a version that was not installed by this module.
        - Versions that are kept are closed. Only root and their owner may enter them, and files in them lose setuid,
          setgid and capabilities. A roll back gives all that back.
      type: int
      default: 1
    allow_downgrade:
      description:
        - Also bring nodes above the kind's version to it, for example when the newer versions are the bad ones.
        - Otherwise such nodes are left alone, since that version is O(fixed_in) or higher.
      type: bool
      default: false
    install_missing:
      description: Install the program where the probe's command is missing.
      type: bool
      default: false
    state_dir:
      description: Absolute path of a folder for the lock, the journal, the log and the list of installed versions.
      type: path
      default: /var/lib/patchwave
    lock_timeout:
      description: Seconds to wait for another patch run on this node.
      type: int
      default: 60
  definitions:
    description:
      - Several programs, patched one after the other, each as a transaction of its own. At most 8.
      - All are checked first. When one fails or is rolled back, those after it are left alone (V(not_run)).
      - Each has the options of this module; beside O(definitions) there are none.
    type: list
    elements: dict
    suboptions:
      name:
        description: As O(name).
        type: str
        required: true
      fixed_in:
        description: As O(fixed_in).
        type: str
        required: true
      <<: *definition
notes:
  - Needs Python 3.8 or later on the node, and no packages.
  - Processes of containers are not looked at; they have files of their own.
"""

EXAMPLES = r"""
- name: Patch just
  patchwave.aws.software_patch:
    name: just
    fixed_in: "1.36.0"
    archive:
      url: https://artifacts.example.com/just-1.36.0-x86_64-unknown-linux-musl.tar.gz
      sha256: 18bd2c0e8d4d8c1c7d4b4c8c1c5a6f5d7a6c3b2e1f0a9d8c7b6a594837261504
      version: "1.36.0"
    dest: /opt/just
    probe:
      command: [/opt/just/current/just, --version]

- name: Patch a vendor's package
  patchwave.aws.software_patch:
    name: grafana
    fixed_in: "11.2.2"
    package_file:
      url: https://artifacts.example.com/grafana_11.2.2_amd64.deb
      sha256: 0f5e5d0c3b2a19088f7e6d5c4b3a29180f7e6d5c4b3a29180f7e6d5c4b3a2918
      version: "11.2.2"
    services:
      - name: grafana-server
    health:
      http:
        url: http://127.0.0.1:3000/api/health

- name: Patch two programs in one run
  patchwave.aws.software_patch:
    definitions:
      - name: just
        fixed_in: "1.36.0"
        archive:
          url: https://artifacts.example.com/just-1.36.0-x86_64-unknown-linux-musl.tar.gz
          sha256: 18bd2c0e8d4d8c1c7d4b4c8c1c5a6f5d7a6c3b2e1f0a9d8c7b6a594837261504
          version: "1.36.0"
        dest: /opt/just
        probe:
          command: [/opt/just/current/just, --version]
      - name: grafana
        fixed_in: "11.2.2"
        package_file:
          url: https://artifacts.example.com/grafana_11.2.2_amd64.deb
          sha256: 0f5e5d0c3b2a19088f7e6d5c4b3a29180f7e6d5c4b3a29180f7e6d5c4b3a2918
          version: "11.2.2"

- name: Patch a server, prove that it answers, and keep two old versions
  patchwave.aws.software_patch:
    name: gitea
    fixed_in: "1.22.5"
    archive:
      url: "{{ gitea_presigned_url }}"
      sha256: "{{ gitea_sha256 }}"
      version: "1.22.6"
      strip: 1
    dest: /opt/gitea
    probe:
      command: [/opt/gitea/current/gitea, --version]
      pattern: 'version (\S+)'
    health:
      command: [/usr/local/sbin/gitea-restart-and-check]
      retries: 5
      delay: 2
    keep: 2
"""

RETURN = r"""
name:
  description: The program. Of several, their names with commas between.
  returned: always
  type: str
  sample: just
outcome:
  description:
    - V(patched), the archive's version is in place and proven (in check mode, would be).
    - V(current), there was nothing to do.
    - V(rolled_back), the new version failed and the old one is back and proven.
    - V(skipped), this was not the time, see RV(reason). The node is as before.
    - V(unsupported), this kind of patch does not fit this node, see RV(reason). The node is as before.
    - V(failed), see RV(reason). The node is as before unless RV(reason) is V(rollback_failed) or V(copies_left).
  returned: always
  type: str
  sample: patched
reason:
  description:
    - Why, in one word that does not change between releases.
    - "With V(patched): V(upgraded), V(downgraded), or V(recovered) when an interrupted run had only to be finished."
    - "With V(current): V(already_fixed), V(not_installed)."
    - "With V(failed) and nothing touched: V(bad_definition), V(locked), V(journal_invalid), V(probe_failed),
      V(downgrade_refused), V(service_missing), V(service_failed), V(dest_conflict), V(command_missing),
      V(run_as_failed), V(health_missing), V(not_writable), V(no_space), V(io_error), V(wrong_package),
      V(package_locked), V(no_way_back), V(held), V(unfinished), V(verifier_missing), V(install_failed),
      V(download_failed), V(bad_signature), V(checksum_mismatch), V(bad_archive), V(unsafe_archive), V(unsafe_folder),
      V(unknown_copies)."
    - "With V(skipped): V(too_late), V(unsafe_process), V(not_run). With V(unsupported): V(unsupported_node),
      V(installed_elsewhere)."
    - "With V(rolled_back): V(install_failed), V(service_failed), V(health_failed), V(wrong_version), V(probe_failed),
      V(old_process), or a file system error as above."
    - "With V(failed) and work for a person: V(rollback_failed), and V(copies_left), where all others are patched."
  returned: always
  type: str
  sample: upgraded
msg:
  description: What happened, where, and what to do, in one line.
  returned: always
  type: str
  sample: "just: upgraded 1.35.0 -> 1.36.0"
version_before:
  description:
    - The version found, or null when there was none or it was not looked for.
    - Of several programs, name and version of each with commas between.
  returned: always
  type: str
  sample: 1.35.0
version_after:
  description:
    - The version at the end, as the probe reports it; null when there is none or it is not known.
    - Of several programs, name and version of each with commas between.
  returned: always
  type: str
  sample: 1.36.0
seconds:
  description:
    - Seconds spent in each step that was run, and in total.
    - C(outage) is from before the first service stops until the new version is healthy.
  returned: always
  type: dict
  sample: {lock: 0.0, probe: 0.004, fetch: 1.203, stage: 0.18, place: 0.002, switch: 0.001, verify: 0.004, total: 1.399}
programs:
  description:
    - What happened to each program, with RV(name), RV(outcome), RV(reason), RV(version_before), RV(version_after) and
      the seconds it took. Of many with long names, keys may be missing and names cut.
    - The outcome of the whole is the worst of them, in the order V(failed), V(rolled_back), V(unsupported), V(skipped),
      V(patched), V(current).
  returned: with O(definitions)
  type: list
  elements: dict
unknown_copies:
  description:
    - Copies that could not be judged, as C(count), and the first ones in C(copies) with path and why. What is in a zip
      file stands behind its path and an exclamation mark. Of several programs, C(count) alone.
    - With RV(outcome=patched) all known vulnerable copies are patched; the next run ends as V(failed) with
      V(unknown_copies) until each is in O(files.accepted), O(files.vulnerable) or O(files.exclude), or mended.
  returned: with O(files), when there are any
  type: dict
  sample: {count: 1, copies: ["/opt/app.war!WEB-INF/lib/log4j-core-2.jar: it is encrypted"]}
copies_left:
  description: Vulnerable copies that could not be replaced, as in RV(unknown_copies).
  returned: with O(files), when there are any
  type: dict
  sample: {count: 1, copies: ["/opt/app.jar: cannot replace /opt/app.jar; check lsattr"]}
log:
  description: Path on the node of the log, one JSON object a line.
  returned: always
  type: str
  sample: /var/lib/patchwave/software_patch.log
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._core.software import MODULE
from ..module_utils._node.bounded import run_command
from ..module_utils._node.several import patch_all
from ..module_utils._node.software import diff, patch_software


def main() -> None:
    """Run the module."""
    alone = [key for key, option in MODULE.items() if key != "definitions" and "default" not in option]
    module = AnsibleModule(
        argument_spec=MODULE,
        supports_check_mode=True,
        required_one_of=[("name", "definitions")],
        required_together=[("name", "fixed_in")],
        mutually_exclusive=[("definitions", key) for key in alone],
    )

    def patch(definition):
        return patch_software(definition, run_command, check_mode=module.check_mode)

    several = module.params["definitions"]
    beside = [key for key, option in MODULE.items() if "default" in option and module.params[key] != option["default"]]
    if several is not None and beside:
        module.fail_json(msg="beside definitions there are no options; put {0} into each".format(", ".join(beside)))
    for key in ("name", "fixed_in") if several is None else ():
        if module.params[key] is None:
            module.fail_json(msg="{0}: is required and empty".format(key))
    result = patch(module.params) if several is None else patch_all(several, patch)
    # Answers are read in bulk over a channel that cuts at 2,500 characters; the arguments are known to who sent them.
    result["invocation"] = {"module_args": {"name": result["name"]}}
    if module._diff:
        result["diff"] = diff(result)
    if result["failed"]:
        module.fail_json(**result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
