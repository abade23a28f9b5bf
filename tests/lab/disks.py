# SPDX-License-Identifier: Apache-2.0
"""A disk of one's own that can fail: ext4 in an image on the lab's tmpfs, on a loop device.

It is mounted in the lab's mounts only, and the loop device belongs to the mount. So nothing of it
is left when the lab ends, however it ends, and whatever still has files open on the disk.
"""
import fcntl
import os
import struct
from pathlib import Path

from lab.host import LabError

EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_THE_LOG = 2  # nothing more reaches the disk, not even what the journal holds
SIZE = 32 << 20


class Disk:
    """Mounted on `folder`, with what the folder holds."""

    def __init__(self, capsule, folder):
        self.capsule, self.folder = capsule, folder
        self.image = capsule.root / f"disk-{folder.name}.img"
        with open(self.image, "xb") as file:
            file.truncate(SIZE)
        # Errors are what the tests make; without `-E` the tables would be written in the background.
        capsule.run(["mkfs.ext4", "-q", "-d", folder, "-E", "lazy_itable_init=0", self.image])
        # Below a disk that is not mounted lies nothing, least of all an older state.
        for path in folder.iterdir():
            path.unlink()
        self.mount()

    def mount(self):
        try:
            self.capsule.run(["mount", "-o", "loop,errors=remount-ro", self.image, self.folder])
        except LabError as failure:
            raise LabError("this test needs a kernel with loop devices and ext4 (modprobe loop "
                           f"ext4): {failure}") from failure

    def unmount(self):
        self.capsule.run(["umount", self.folder])

    def repair(self):
        """What an operator does with a disk that had errors; it must not be mounted."""
        done = self.capsule.run(["fsck.ext4", "-p", self.image], check=False)
        assert done.returncode in (0, 1), done  # 1: errors were corrected

    def find_error(self):
        """The kernel finds the file system damaged, and turns it read-only under open files."""
        device = os.stat(self.folder).st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        Path(f"/sys/fs/ext4/{name}/trigger_fs_error").write_text("1")

    def die(self):
        """Whatever is read that is not in memory, and whatever is written, is an I/O error."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_THE_LOG))
        finally:
            os.close(descriptor)
