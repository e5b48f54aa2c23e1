# SPDX-License-Identifier: Apache-2.0
"""The official archives of ILSVRC 2012: where every picture stands in them, and of which class it is.

    archives = Archives(Path("downloads"))
    archives.check()                                     # MD5 of all three
    archives.training(), archives.validation()           # lists of Picture

Nothing is unpacked: a tar file holds its members as they are, so that a picture is a stretch of the archive.
"""

import hashlib
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compliance.files.errors import UserError
from imagenet_resnet import matlab_file
from imagenet_resnet.matlab_file import MatlabError

TRAINING, VALIDATION, KIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", "ILSVRC2012_devkit_t12.tar.gz"
MD5 = {
    TRAINING: "1d675b47d978889d74fa0da5fadfb00e",
    VALIDATION: "29b22e2961454d5413ddabcf34fc5622",
    KIT: "fa75699e90414af021442c21a62c3abf",
}
GROUND_TRUTH, SYNSETS = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"


class ArchiveError(UserError):
    """An archive that is missing, damaged or contradicts another one."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A file inside an archive."""

    name: str
    archive: Path
    start: int
    """Byte of the archive at which it begins."""
    size: int
    """Bytes."""
    class_name: str
    """WordNet id, such as n01440764."""

    def read(self) -> bytes:
        with self.archive.open("rb") as stream:
            stream.seek(self.start)
            return stream.read(self.size)


class Archives:
    """The three files of one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in MD5:
            if not (folder / name).is_file():
                raise ArchiveError(f"{folder / name}: missing; expected {', '.join(MD5)} there")

    def check(self, advance: Callable[[], object] = lambda: None) -> None:
        """Raise ArchiveError where an archive is not the published one, byte for byte."""
        for name, expected in MD5.items():
            with (self.folder / name).open("rb") as stream:
                found = hashlib.file_digest(stream, "md5").hexdigest()
            if found != expected:
                where = self.folder / name
                raise ArchiveError(f"{where}: md5: found {found}, expected {expected}; download it again")
            advance()

    @cached_property
    def classes(self) -> list[str]:
        """WordNet ids in the order of their labels."""
        return sorted({picture.class_name for picture in self.training()})

    def training(self) -> list[Picture]:
        """By class and name: one archive a class stands inside the archive."""
        return self._training

    @cached_property
    def _training(self) -> list[Picture]:
        path, found = self.folder / TRAINING, []
        with _opened(path) as outer:
            for archive in outer:
                with _opened(path, fileobj=outer.extractfile(archive)) as inner:
                    class_name = Path(archive.name).stem
                    found += [_picture(path, member, class_name, archive.offset_data) for member in inner]
        if not found:
            raise ArchiveError(f"{path}: found no pictures, expected an archive n########.tar of each class")
        return sorted(found, key=lambda picture: (picture.class_name, picture.name))

    def validation(self) -> list[Picture]:
        """By name, the order of the ground truth; ArchiveError where that does not fit pictures and classes."""
        path = self.folder / VALIDATION
        with _opened(path) as archive:
            members = sorted((member for member in archive if member.isfile()), key=lambda member: member.name)
        class_names = self._ground_truth()
        if len(class_names) != len(members):
            found = f"found {len(class_names)} classes for {len(members)} pictures of {VALIDATION}"
            raise ArchiveError(f"{self.folder / KIT}: {GROUND_TRUTH}: {found}, expected one each")
        return [_picture(path, *pair) for pair in zip(members, class_names, strict=True)]

    def _ground_truth(self) -> list[str]:
        """Class of each validation picture: line i holds the number that meta.mat gives its class."""
        path = self.folder / KIT
        try:
            records = matlab_file.read_records(self._of_kit(SYNSETS))
        except MatlabError as error:
            raise ArchiveError(f"{path}: {SYNSETS}: {error}") from None
        class_of = {int(record["ILSVRC2012_ID"]): record["WNID"] for record in records}
        lines = self._of_kit(GROUND_TRUTH).decode().split()
        known = set(self.classes)
        unknown = [line for line in lines if not line.isdecimal() or class_of.get(int(line)) not in known]
        if unknown:
            found = f"found class number {unknown[0]}, which {SYNSETS} and {TRAINING} do not both know"
            raise ArchiveError(f"{path}: {GROUND_TRUTH}: {found}")
        class_names = [class_of[int(line)] for line in lines]
        counts = Counter(class_names)
        if len(set(counts.values())) > 1 or len(counts) != len(self.classes):
            found = f"found {min(counts.values())} to {max(counts.values())} pictures in {len(counts)} classes"
            raise ArchiveError(f"{path}: {GROUND_TRUTH}: {found}, expected as many of each of {len(self.classes)}")
        return class_names

    def _of_kit(self, name: str) -> bytes:
        path = self.folder / KIT
        with _opened(path, mode="r:gz") as archive:
            for member in archive:
                if Path(member.name).name == name and member.isfile():
                    return archive.extractfile(member).read()
        raise ArchiveError(f"{path}: found no {name} in it")


def _picture(path: Path, member: tarfile.TarInfo, class_name: str, offset: int = 0) -> Picture:
    start = offset + member.offset_data
    return Picture(name=Path(member.name).name, archive=path, start=start, size=member.size, class_name=class_name)


def _opened(path: Path, *, mode: str = "r:", **options) -> tarfile.TarFile:
    try:
        return tarfile.open(path, mode, **options)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ArchiveError(f"{path}: not a tar file: {error}") from None
