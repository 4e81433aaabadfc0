"""Ten made-up records in the format of each challenge, and the ways in which they may lie on disk."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

Files = dict[str, bytes]  # path inside the distribution, and content

LABS = (
    *("BaseExcess", "HCO3", "FiO2", "pH", "PaCO2", "SaO2", "AST", "BUN", "Alkalinephos", "Calcium"),
    *("Chloride", "Creatinine", "Bilirubin_direct", "Glucose", "Lactate", "Magnesium", "Phosphate"),
    *("Potassium", "Bilirubin_total", "TroponinI", "Hct", "Hgb", "PTT", "WBC", "Fibrinogen", "Platelets"),
)
COLUMNS = (
    *("HR", "O2Sat", "Temp", "SBP", "MAP", "DBP", "Resp", "EtCO2"),
    *LABS,
    *("Age", "Gender", "Unit1", "Unit2", "HospAdmTime", "ICULOS", "SepsisLabel"),
)
FIRST = 900001  # RecordID of the first


def record_2012(number: int, *rows: str, icu: int = 1, age: int = 60, weight: str = "80") -> bytes:
    """A record with its six descriptors and some rows."""
    head = [
        "Time,Parameter,Value",
        f"00:00,RecordID,{number}",
        f"00:00,Age,{age}",
        f"00:00,Gender,{number % 2}",
        "00:00,Height,-1",
        f"00:00,ICUType,{icu}",
        f"00:00,Weight,{weight}",
    ]
    return ("\n".join([*head, *rows]) + "\n").encode()


def challenge_2012(*, letter: str = "a", first: int = FIRST, n: int = 10) -> Files:
    """A set: the first record is rich, the last but one empty; the last two have no length of stay."""
    files: Files = {}
    outcomes = ["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"]
    for i in range(n):
        number = first + i
        rows = [f"{hour:02d}:30,HR,{70 + i + hour % 5}" for hour in range(0, 48, 3)]
        rows += [f"{hour:02d}:45,K,4.{i}" for hour in (2, 26)]
        if i == 0:
            rows += [
                *("01:07,SysABP,121", "01:07,NISysABP,117", "01:07,Temp,36.6", "01:07,GCS,14"),
                *("02:10,MechVent,1", "02:10,FiO2,0.5", "03:10,FiO2,0.4", "04:00,TroponinT,0.25"),
                *("05:00,Urine,100", "05:00,HCT,31", "05:00,SaO2,97", "06:00,Temp,-17.8", "06:00,SysABP,0"),
                *("07:00,,5", "08:00,pH,-1", "09:00,Mg,2.1", "48:00,HR,99"),
            ]
        if i == n - 2:
            rows = []
        length = -1 if i >= n - 2 else 1 if i == 1 else 3 + 2 * i
        died = int(i in (3, 4))
        outcomes.append(f"{number},10,4,{length},{-1 if not died else length},{died}")
        files[f"set-{letter}/{number}.txt"] = record_2012(
            number, *rows, icu=1 + i % 4, age=50 + i, weight="80" if rows else "-1"
        )
    files[f"Outcomes-{letter}.txt"] = ("\n".join(outcomes) + "\n").encode()
    return files


def row_2019(hour: int, label: int = 0, **values: float) -> str:
    """A row: everything that is not named is NaN."""
    told = {"Age": 63.7, "Gender": 1, "HospAdmTime": -3.2, "ICULOS": hour, "SepsisLabel": label} | values
    return "|".join(f"{told[name]:g}" if name in told else "NaN" for name in COLUMNS)


def record_2019(*rows: str) -> bytes:
    """A file of rows."""
    return ("\n".join(["|".join(COLUMNS), *rows]) + "\n").encode()


def challenge_2019(*, letter: str = "A", n: int = 10) -> Files:
    """A hospital: record 1 is rich; 2 has sepsis at hour 30; 3 from its first row; 4 ends after 10 h."""
    files: Files = {}
    for i in range(n):
        name = f"p{'AB'.index(letter)}{i + 1:05d}"
        last = 10 if i == 3 else 48
        positive = {1: 24, 2: 1}.get(i, 1_000)
        end = 33 if i == 1 else last
        unit = {"Unit1": i % 2, "Unit2": 1 - i % 2} if i % 3 else {}
        rows = [
            row_2019(hour, int(hour >= positive), HR=80 + i + hour % 3, **unit) for hour in range(1, end + 1)
        ]
        if i == 0:
            rich = {"O2Sat": 96, "FiO2": 0.4, "TroponinI": 0.02, "Lactate": 1.7, "Hct": 30, "Calcium": 1.1}
            rows[4] = row_2019(5, HR=88, Bilirubin_direct=0.3, **rich)
            rows[5] = row_2019(6, HR=500, FiO2=10)
        files[f"training_set{letter}/{name}.psv"] = record_2019(*rows)
    return files


def as_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    """The files, unpacked."""
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return folder


def as_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    """The files in a .zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def as_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    """The files in a .tar, compressed as the name says."""
    kind = path.name.rpartition(".")[2]
    with tarfile.open(path, "w" if kind == "tar" else f"w:{kind}") as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
