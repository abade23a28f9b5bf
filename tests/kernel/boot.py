# SPDX-License-Identifier: Apache-2.0
"""Run programs of this tree under Debian 12's own kernel, in QEMU.

The kernel comes from Debian's package, which is unpacked in build/kernel and not installed. The
guest has no disk: its root is this machine's, read-only over 9p, so that it runs the very files
that were built here, with the libraries that they were linked to. What a program prints, and its
exit code, land in a folder that is shared for writing. The processor is emulated (`-accel tcg`),
which needs nothing of the machine and is some ten times slower.
"""

import contextlib
import fcntl
import os
import pathlib
import shlex
import shutil
import subprocess

import tree

HERE = pathlib.Path(__file__).resolve().parent
FOLDER = tree.ROOT / "build" / "kernel"
RESULTS = tree.LOGS / "kernel"

IN_INITRAMFS = ("virtio_pci", "9pnet_virtio", "9p")  # what must be there to reach the root
AFTERWARDS = ("veth", "bridge", "inet_diag", "tcp_diag", "udp_diag", "sch_ingress", "cls_bpf")  # what the programs need

JOB = """\
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1
ulimit -n 65536
modprobe -d {modules} -a {afterwards}
cd {root}
run() {{
	local name=$1
	shift
	"$@" >/run/results/$name.log 2>&1 </dev/null
	echo $? >/run/results/$name.code
}}
{commands}
sync
echo o >/proc/sysrq-trigger
read -r -t 60 </dev/zero
"""


class BootError(Exception):
    """The guest could not be made or started; the text says why, for people."""


def _run(command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False,
                          **options)
    if done.returncode != 0:
        raise BootError(f"{shlex.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def _package():
    """The name of the package with the newest kernel of this release."""
    for line in _run(["apt-cache", "depends", "linux-image-amd64"]).splitlines():
        kind, _, name = line.strip().partition(" ")
        if kind == "Depends:" and name.startswith("linux-image-"):
            return name
    raise BootError("Debian's package lists know no kernel: run apt-get update")


@contextlib.contextmanager
def _apt():
    """Without another checkout's tools/setup at work, which replaces the package lists."""
    dpkg = os.open("/var/lib/dpkg", os.O_RDONLY)
    try:
        fcntl.flock(dpkg, fcntl.LOCK_EX)
        yield
    finally:
        os.close(dpkg)


def kernel():
    """The folder with an unpacked kernel package, which is fetched if there is none yet."""
    ready = sorted(path.parent for path in FOLDER.glob("*/ready"))
    if ready:
        return ready[-1]
    with _apt():
        return _fetch(_package())


def _fetch(package):
    folder = FOLDER / package
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # As root apt would warn that its own user cannot enter the folder; root fetches then.
    _run(["apt-get", "-o", "APT::Sandbox::User=root", "download", package], cwd=folder)
    archive, = folder.glob("*.deb")
    _run(["dpkg-deb", "-x", archive, folder])
    archive.unlink()
    version = package.removeprefix("linux-image-")
    _run(["depmod", "-b", folder, version])
    (folder / "ready").write_text(version)
    return folder


def _modules(folder, version):
    """The files of the modules that the initramfs needs, in the order in which they load."""
    found = []
    for name in IN_INITRAMFS:
        shown = _run(["modprobe", "-d", folder, "-S", version, "--show-depends", name])
        found += [line.split()[1] for line in shown.splitlines() if line.startswith("insmod ")]
    return list(dict.fromkeys(found))


def _initramfs(folder, version):
    """An archive with busybox, the modules and the init script."""
    stage = FOLDER / "initramfs"
    shutil.rmtree(stage, ignore_errors=True)
    for name in ("bin", "modules", "proc", "sys", "dev", "host"):
        (stage / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", stage / "bin")
    shutil.copy(HERE / "init", stage / "init")
    for number, path in enumerate(_modules(folder, version)):
        shutil.copy(path, stage / "modules" / f"{number:02}-{pathlib.Path(path).name}")
    archive = FOLDER / "initramfs.cpio"
    names = "\n".join(str(path.relative_to(stage)) for path in sorted(stage.rglob("*")))
    with open(archive, "wb") as output:
        subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=stage, check=True,
                       input=names.encode(), stdout=output)
    return archive


def _share(path, tag, options):
    return ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{options}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]


def run(commands, timeout_s):
    """Boot, run each of `commands`, {name: argv}, and power off. The tree's path may hold no space,
    as it is told to the kernel.

    Returns {name: tree.Finished}; one that never ended has the guest's console as its output.
    """
    if " " in str(tree.ROOT):
        raise BootError(f"'{tree.ROOT}' has a space in it: clone to another folder")
    folder = kernel()
    version = (folder / "ready").read_text()
    archive = _initramfs(folder, version)
    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    (RESULTS / "job").write_text(JOB.format(
        root=shlex.quote(str(tree.ROOT)), modules=shlex.quote(str(folder)),
        afterwards=" ".join(AFTERWARDS),
        commands="\n".join(f"run {name} {shlex.join(map(str, argv))}"
                           for name, argv in commands.items())))
    console = tree.run(
        ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
         "-m", "2048", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
         "-kernel", folder / "boot" / f"vmlinuz-{version}", "-initrd", archive,
         "-append", f"console=ttyS0 quiet panic=-1 tree={tree.ROOT}",
         *_share("/", "host", ",readonly=on"), *_share(tree.ROOT, "tree", ",readonly=on"),
         *_share(RESULTS, "results", "")],
        "kernel-console.log", timeout_s)
    return {name: _finished(name, console) for name in commands}


def _finished(name, console):
    code, log = RESULTS / f"{name}.code", RESULTS / f"{name}.log"
    if code.exists():
        return tree.Finished(int(code.read_text()), log.read_text(errors="replace"), 0, "")
    begun = log.read_text(errors="replace") if log.exists() else ""
    return tree.Finished(1, begun + console.output, 0,
                         f"the guest did not end it. {console.fault}")
