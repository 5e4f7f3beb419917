"""Model files before they are models: where they are, loaded, written, told from each other.

installed     installed distributions, some of which carry a model
sources       what the user named as what `from_pretrained` loads; GGUF files made plain
loading       what transformers raises, in one line that names the model; tokenizers
saving        weights written
fingerprints  of tensors and of model folders
"""

from art.weights.fingerprints import fingerprint_folder, fingerprint_tensors
from art.weights.installed import PACKAGE_PREFIX, is_installed, packaged_files
from art.weights.loading import (
    check_size,
    load_tokenizer,
    loading_model,
    without_load_report,
)
from art.weights.saving import save_model, save_tensors, saving_weights, written_by
from art.weights.sources import MODULES_FILE, converted_once, model_folder, resolve_model

__all__ = [
    "MODULES_FILE",
    "PACKAGE_PREFIX",
    "check_size",
    "converted_once",
    "fingerprint_folder",
    "fingerprint_tensors",
    "is_installed",
    "load_tokenizer",
    "loading_model",
    "model_folder",
    "packaged_files",
    "resolve_model",
    "save_model",
    "save_tensors",
    "saving_weights",
    "without_load_report",
    "written_by",
]
