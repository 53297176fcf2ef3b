"""Small models of many architectures, from transformers' classes and from torch's layers,
with seeded weights: what no kernel and no pass of the compiler was written for.

`dynamic` exports have a dynamic batch, length or size. Their further cases are the ends
of the ranges as torch states them.
"""

import torch
import torch.nn.functional as F
import transformers
from torch import nn

from exporting import Model, leaves, noise, seed_weights

BATCH = torch.export.Dim("batch", min=1, max=8)
LENGTH = torch.export.Dim("length", min=2, max=48)


class Part(nn.Module):
    """A transformers model from its configuration; `pick` takes the tensors that count."""

    def __init__(self, model, pick, **arguments):
        super().__init__()
        self.model, self.pick, self.arguments = model, pick, arguments

    def forward(self, x):
        result = self.model(x, **self.arguments)
        picked = tuple(getattr(result, name) for name in self.pick)
        return picked[0] if len(picked) == 1 else picked


class EncoderDecoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, decoder_ids):
        return self.model(input_ids=ids, decoder_input_ids=decoder_ids, use_cache=False).last_hidden_state


class UNet(nn.Module):
    """Encoder and decoder with skip connections: group norm, transposed convolutions, resizing."""

    def __init__(self):
        super().__init__()

        def block(inputs, outputs):
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.SiLU(),
                                 nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs),
                                 nn.LeakyReLU(0.1))

        self.down1, self.down2, self.middle = block(3, 20), block(20, 40), block(40, 72)
        self.up2, self.join2 = nn.ConvTranspose2d(72, 40, 2, 2), block(80, 40)
        self.up1, self.join1 = nn.ConvTranspose2d(40, 20, 4, 2, 1), block(40, 20)
        self.head = nn.Conv2d(20, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        y = self.middle(F.avg_pool2d(b, 2))
        y = self.join2(torch.cat([self.up2(y), b], 1))
        y = self.join1(torch.cat([self.up1(y), a], 1))
        return F.interpolate(self.head(y), scale_factor=1.5, mode="bilinear")


class Tagger(nn.Module):
    """Two bidirectional LSTM layers between an embedding and a projection."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 20)
        self.lstm = nn.LSTM(20, 28, 2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(56, 7)

    def forward(self, ids):
        return self.out(self.lstm(self.embedding(ids))[0]).log_softmax(-1)


class Mixer(nn.Module):
    """Products over tokens and over channels in turn; several kinds of reduction at the end."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 24, 8, 8)
        self.norm = nn.LayerNorm(24)
        self.tokens = nn.Linear(16, 16)
        self.channels = nn.Sequential(nn.Linear(24, 50), nn.GELU("tanh"), nn.Linear(50, 24))
        self.slope = nn.PReLU(24)

    def forward(self, x):
        y = self.patches(x).flatten(2).transpose(1, 2)
        y = y + self.tokens(self.norm(y).transpose(1, 2)).transpose(1, 2)
        y = y + self.channels(self.norm(y))
        return self.slope(y.transpose(1, 2)).amax(-1), y.std(1), y.topk(3, 1).values


class Codec(nn.Module):
    """Sound to a short code and back: strided and transposed 1-D convolutions."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Conv1d(1, 8, 7, padding=3), nn.ELU(), nn.Conv1d(8, 16, 8, 4, 2), nn.ELU(),
                                    nn.Conv1d(16, 24, 10, 5))
        self.decode = nn.ConvTranspose1d(24, 8, 10, 5)

    def forward(self, x):
        code = self.encode(x)
        return self.decode(code), code.softmax(1)


TEXT = {"vocab_size": 100, "num_hidden_layers": 2, "hidden_size": 48, "intermediate_size": 96}
SPEECH = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96,
          "conv_dim": (32, 32, 32), "conv_stride": (5, 2, 2), "conv_kernel": (10, 3, 3),
          "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
VISION = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96,
          "image_size": 64, "patch_size": 16}


def of(name, pick=("last_hidden_state",), model="Model", use_cache=None, **config):
    """The transformers model `name` at the sizes of `config`."""
    made = getattr(transformers, f"{name}{model}")(getattr(transformers, f"{name}Config")(**config))
    arguments = {} if use_cache is None else {"use_cache": use_cache}
    return Part(made, pick, **arguments)


def ids(batch, length, seed=0):
    return torch.randint(1, 100, (batch, length), generator=torch.Generator().manual_seed(seed))


# NAME: (module, what makes an input of given sizes, sizes of the static case, dynamic
# dims by axis, sizes of further cases; the first of them is traced).
IMAGE = (noise, (1, 3, 64, 64), {0: BATCH}, [(3, 3, 64, 64), (8, 3, 64, 64)])
WORDS = (ids, (1, 16), {0: BATCH, 1: LENGTH}, [(3, 7), (8, 2), (1, 48)])
PROMPT = (ids, (1, 16), {1: LENGTH}, [(1, 7), (1, 2), (1, 48)])
ARCHITECTURES = {
    "resnet": (lambda: of("ResNet", ["pooler_output"], embedding_size=16, hidden_sizes=[16, 32, 48, 64],
                          depths=[1, 1, 1, 1], layer_type="bottleneck"), *IMAGE),
    "regnet": (lambda: of("RegNet", ["pooler_output"], embedding_size=16, hidden_sizes=[24, 48, 64, 96],
                          depths=[1, 1, 1, 1], groups_width=8), *IMAGE),
    "convnext": (lambda: of("ConvNext", ["pooler_output"], hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1]),
                 *IMAGE),
    "efficientnet": (lambda: of("EfficientNet", ["pooler_output"], image_size=64, width_coefficient=0.25,
                                depth_coefficient=0.5, hidden_dim=320), *IMAGE),
    "vit": (lambda: of("ViT", **VISION), *IMAGE),
    "clip": (lambda: of("CLIPVision", ["last_hidden_state", "pooler_output"], **VISION), *IMAGE),
    "swin": (lambda: of("Swin", image_size=64, patch_size=4, embed_dim=12, depths=[2, 2], num_heads=[2, 4],
                        window_size=4), *IMAGE),
    "segformer": (lambda: of("Segformer", ["logits"], model="ForSemanticSegmentation", hidden_sizes=[16, 32, 40, 64],
                             depths=[1, 1, 1, 1], decoder_hidden_size=32, num_labels=5),
                  noise, (1, 3, 64, 64), {0: BATCH}, [(2, 3, 64, 64), (8, 3, 64, 64)]),
    "mobilevit": (lambda: of("MobileViT", ["pooler_output"], image_size=64, hidden_sizes=[48, 48, 48],
                             neck_hidden_sizes=[16, 16, 24, 32, 40, 48, 96]), *IMAGE),
    "yolos": (lambda: of("Yolos", ["logits", "pred_boxes"], model="ForObjectDetection",
                         **{**VISION, "image_size": [64, 64]}, num_detection_tokens=10), *IMAGE),
    "bert": (lambda: of("Bert", **TEXT, num_attention_heads=3), *WORDS),
    "gpt2": (lambda: of("GPT2", ["logits"], model="LMHeadModel", use_cache=False, vocab_size=100, n_embd=48,
                        n_layer=2, n_head=3, n_positions=64), *PROMPT),
    "llama": (lambda: of("Llama", ["logits"], model="ForCausalLM", use_cache=False, **TEXT, num_attention_heads=4,
                         num_key_value_heads=2), *PROMPT),
    "qwen2": (lambda: of("Qwen2", ["logits"], model="ForCausalLM", use_cache=False, **TEXT, num_attention_heads=4,
                         num_key_value_heads=2), *WORDS),
    "mamba": (lambda: of("Mamba", use_cache=False, vocab_size=100, hidden_size=32, num_hidden_layers=2, state_size=8),
              ids, (1, 7), {0: BATCH}, [(2, 7)]),
    "t5": (lambda: EncoderDecoder(transformers.T5Model(transformers.T5Config(
        vocab_size=100, d_model=48, d_kv=16, d_ff=96, num_layers=2, num_heads=3))), None, None, None, ()),
    "wav2vec2": (lambda: of("Wav2Vec2", **SPEECH), noise, (1, 4000), None, ()),
    "unet": (UNet, noise, (1, 3, 48, 48), {2: 4 * torch.export.Dim("h", min=2, max=40),
                                           3: 4 * torch.export.Dim("w", min=2, max=40)},
             [(1, 3, 48, 64), (1, 3, 8, 160)]),
    "tagger": (Tagger, ids, (2, 9), None, ()),
    "mixer": (Mixer, noise, (2, 3, 32, 32), {0: BATCH}, [(3, 3, 32, 32), (1, 3, 32, 32)]),
    "codec": (Codec, noise, (1, 1, 640), {2: 20 * torch.export.Dim("frames", min=27, max=60)},
              [(1, 1, 660), (1, 1, 540), (1, 1, 1200)]),
}


def make(name):
    torch.manual_seed(7)
    build, example, sizes, axes, more = ARCHITECTURES[name.removeprefix("small_")]
    module = seed_weights(build(), seed=7)
    if example is None:  # two inputs, of different lengths
        return Model(module, (ids(1, 16), ids(1, 5, seed=1)), ["ids", "decoder_ids"], ["y"])
    inputs = (example(*sizes),)
    with torch.no_grad():
        outputs = [f"y{i}" for i, _ in enumerate(leaves(module(*inputs)))]
    return Model(module, inputs, ["x"], outputs, dynamic=(axes,) if axes else None,
                 more_inputs=tuple((example(*case, seed=1 + i),) for i, case in enumerate(more)))
