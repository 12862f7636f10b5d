"""A folder in; the files that are a virtual device's own in it out, to lie on top of what it shares with others: users, keys, stand-ins for tools."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from edgekit.files import disk_errors
from edgekit.lab.root import HIDDEN

PI_PORT = 2222  # inside; one below 1024 would need rights that the service has not


def pi_files(folder: Path, public_key: str, private_host_key: bytes, environment: Mapping[str, str]) -> None:
    """What is the board's own: its user `pi` with an empty home, its host key, and who may log in."""
    set_env = " ".join(f"{name}={value}" for name, value in environment.items())
    texts = {
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\npi:x:1000:1000::/home/pi:/bin/sh\n",
        "etc/group": "root:x:0:\ntty:x:5:\nnogroup:x:65534:\npi:x:1000:\n",
        "etc/shadow": "root:*:19000:0:99999:7:::\npi:*:19000:0:99999:7:::\n",
        "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13 (trixie)"\nNAME="Debian GNU/Linux"\nVERSION_ID="13"\nID=debian\n',
        "etc/ssh/authorized_keys": public_key + "\n",
        "etc/ssh/sshd_config": SSHD_CONFIG.format(port=PI_PORT, environment=set_env),
        "usr/bin/vcgencmd": ANSWER,
    }
    write_all(folder, texts)
    write(folder / "etc/ssh/host_key", private_host_key, 0o600)
    (folder / "usr/bin/vcgencmd").chmod(0o755)
    for name in ("bin", "lib", "sbin"):
        (folder / name).symlink_to(f"usr/{name}")
    for name, mode in (("root", 0o700), ("run/sshd", 0o755), ("run/answers", 0o755), ("tmp", 0o1777), ("var/tmp", 0o1777), ("home/pi", 0o700)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(mode)
    give(folder / "home/pi", 1000)


def phone_files(folder: Path) -> None:
    """What is the phone's own: the user `shell`, its folder, and the stand-ins for Android's services."""
    texts = {"passwd": "root::0:0::/:/system/bin/sh\nshell::2000:2000::/:/system/bin/sh\n", "group": "root::0:\nshell::2000:\n"}
    write_all(folder / "system/etc", texts)
    for name, text in PHONE_SCRIPTS.items():
        there = text.replace("/run/answers", f"{HIDDEN}/answers").replace("/bin/sh", "/system/bin/sh")
        write(folder / "system/bin" / name, there.encode(), 0o755)
    for link, target in (("bin", "/system/bin"), ("etc", "/system/etc"), ("sdcard", "/data/media/0")):
        (folder / link).symlink_to(target)
    for name, mode in (("data/local/tmp", 0o771), ("data/media/0", 0o771), ("data/local", 0o751), ("data", 0o771)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name).chmod(mode)
        if name in ("data/local/tmp", "data/media/0"):
            give(folder / name, 2000)


def give(file: Path, user: int) -> None:
    """Make a user of the device the owner; in the lab of a user who is not root there is but one, who owns all."""
    if os.geteuid() == 0:
        os.chown(file, user, user)


def write_all(folder: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        write(folder / name, text.encode(), 0o644)


def write(file: Path, content: bytes, mode: int) -> None:
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(mode)


SSHD_CONFIG = """Port {port}
ListenAddress 127.0.0.1
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AllowUsers pi
UseDNS no
PrintMotd no
PrintLastLog no
Subsystem sftp /usr/lib/openssh/sftp-server
SetEnv {environment}
"""

ANSWER = """#!/bin/sh
# Prints what is kept as the answer to exactly these words.
file="/run/answers/${0##*/}${*:+ $*}"
[ -r "$file" ] || { echo "${0##*/}: not known: $*" >&2; exit 255; }
exec cat "$file"
"""

PHONE_SCRIPTS = {
    "dumpsys": ANSWER,
    "cmd": ANSWER,
    "wm": ANSWER,
    "pm": ANSWER,
    "getprop": """#!/bin/sh
file="/run/answers/getprop${1:+ $1}"
[ -r "$file" ] || { echo "${2-}"; exit 0; }
cat "$file"
""",
    "settings": """#!/bin/sh
file="/run/answers/settings get $2 $3"
case $1 in
get) cat "$file" 2> /dev/null || echo null ;;
put) echo "$4" > "$file" ;;
list) for file in "/run/answers/settings get $2 "*; do read -r value < "$file" && echo "${file##* }=$value"; done ;;
delete) rm -f "$file" && echo "Deleted 1 rows" ;;
*) echo "Invalid command: $1" >&2; exit 255 ;;
esac
""",
    # Android's `svc power stayon` keeps it as this setting: BatteryManager.BATTERY_PLUGGED_AC 1, _USB 2, _WIRELESS 4, _DOCK 8.
    "svc": """#!/bin/sh
[ "$1 $2" = "power stayon" ] || { echo "Available commands: power" >&2; exit 255; }
case $3 in true) mask=15 ;; usb) mask=2 ;; ac) mask=1 ;; wireless) mask=4 ;; dock) mask=8 ;; *) mask=0 ;; esac
settings put global stay_on_while_plugged_in $mask
""",
    "input": """#!/bin/sh
case "$1 $2" in
"keyevent KEYCODE_WAKEUP" | "keyevent 224") now=Awake ;;
"keyevent KEYCODE_SLEEP" | "keyevent 223") now=Asleep ;;
*) exit 0 ;;
esac
cd /run/answers && sed "s/mWakefulness=.*/mWakefulness=$now/" "dumpsys power" > power.new && cat power.new > "dumpsys power" && rm power.new
""",
}
