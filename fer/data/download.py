"""FER2013 from Kaggle; needs the extra `download`."""

from importlib import import_module
from pathlib import Path

from fer.errors import FerError, one_line

HANDLE = "msambare/fer2013"

_BY_HAND = f"download the zip of {HANDLE} from kaggle.com/datasets/{HANDLE} into data/fer2013"


def download_fer2013() -> Path:
    """Fetch FER2013 through kagglehub, which keeps it and fetches it only once.

    Returns:
        The folder that holds `train` and `test`.

    Raises:
        FerError: If kagglehub is not installed, or cannot fetch the data.
    """
    try:
        kagglehub = import_module("kagglehub")
    except ImportError as error:
        raise FerError(
            f"downloading FER2013 needs kagglehub: pip install 'fer-lightning[download]', or {_BY_HAND}"
        ) from error
    try:
        return Path(kagglehub.dataset_download(HANDLE))
    except Exception as error:  # no network, no account, no space: kagglehub passes any error on
        raise FerError(f"FER2013 could not be downloaded ({one_line(error)}); {_BY_HAND}") from error
