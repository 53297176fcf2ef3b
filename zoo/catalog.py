"""The models by name: which script makes each, and which set it belongs to.

`default` is what `./dev test` exports and runs; `all` (`./dev test --all`) adds
models that are large, or that say little beyond what a default one says.
Standard library only: the tests list the names without torch.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    script: str  # zoo/SCRIPT.py, with a function `make(name)`
    set: str


MODELS = {
    "nothing": Entry("nothing", "default"),
    "mobilenetv2": Entry("mobilenetv2", "default"),
    "mobilenetv2_cls": Entry("mobilenetv2", "default"),
    "quartznet15x5": Entry("quartznet", "default"),
    "yolox_s": Entry("yolox_paper", "default"),
    "yolox_nano": Entry("yolox_paper", "default"),
    "yolox_nano_pkg": Entry("yolox_package", "default"),
    "yolox_s_pkg": Entry("yolox_package", "all"),
    "whisper_tiny_encoder": Entry("whisper", "default"),
    "whisper_tiny_cross_kv": Entry("whisper", "default"),
    "whisper_tiny_prefill": Entry("whisper", "default"),
    "whisper_tiny_prefill_448": Entry("whisper_long", "all"),
    "whisper_tiny_step": Entry("whisper", "default"),
    # The parts joined by a loop: as many ids as there are, or a buffer and the count.
    "whisper_tiny_greedy": Entry("whisper_greedy", "all"),
    "whisper_tiny_greedy_buffer": Entry("whisper_greedy", "default"),
    # From sound to token ids, real weights: what examples/whisper runs.
    "whisper_tiny_en_text": Entry("speech", "default"),
    "whisper_tiny_en_timestamps": Entry("speech", "default"),
    # The same code at other widths, depths, sizes and seeds: nothing in the
    # compiler may lean on the numbers of the models above.
    "mobilenetv2_075_192": Entry("mobilenetv2", "default"),
    "quartznet5x5": Entry("quartznet", "default"),
    "yolox_tiny": Entry("yolox_paper", "default"),
    "whisper_base_encoder": Entry("whisper", "all"),
    "whisper_base_cross_kv": Entry("whisper", "all"),
    "whisper_base_prefill": Entry("whisper", "all"),
    "whisper_base_step": Entry("whisper", "default"),
}

# Small models of many architectures, random weights: nothing here was written for them.
MODELS |= {f"small_{name}": Entry("architectures", "default") for name in (
    "resnet", "regnet", "convnext", "efficientnet", "vit", "clip", "swin", "segformer", "mobilevit", "yolos",
    "bert", "gpt2", "llama", "qwen2", "mamba", "t5", "wav2vec2", "unet", "tagger", "mixer", "codec")}


def names(which: str) -> list[str]:
    return [name for name, entry in MODELS.items() if which == "all" or entry.set == "default"]
