"""The parts of Whisper (speech recognition): encoder, the cross-attention's keys and
values, the decoder over a prompt (prefill) and over one token (step).

The weights sit in the transformers package's modules; the decoder's mathematics is
written out here, with the caches as explicit inputs and outputs of a fixed length.
tiny and base differ in width, heads and layers only.
"""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import WhisperConfig, WhisperForConditionalGeneration

from exporting import Model, noise, seed_weights

MAX_TOKENS = 448
PROMPT, END = [50258, 50259, 50359, 50363], 50257
SIZES = {  # width, heads, layers, seed
    "tiny": (384, 6, 4, 0),
    "base": (512, 8, 6, 11),
}


def whole_model(size):
    width, heads, layers, number = SIZES[size]
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(WhisperConfig(
        vocab_size=51865, d_model=width, encoder_layers=layers, decoder_layers=layers,
        encoder_attention_heads=heads, decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width, decoder_ffn_dim=4 * width))
    sinusoids = model.model.encoder.embed_positions.weight.detach().clone()
    seed_weights(model, seed=number)
    with torch.no_grad():
        model.model.encoder.embed_positions.weight.copy_(sinusoids)
        model.proj_out.weight = model.model.decoder.embed_tokens.weight
        # A direction that grows with the position, and that the end token's
        # embedding points in: greedy decoding ends after some tens of tokens.
        end = F.normalize(noise(width, seed=7), dim=0)
        positions = model.model.decoder.embed_positions.weight
        positions.add_(torch.arange(MAX_TOKENS)[:, None] * end[None] * 0.25)
        model.model.decoder.embed_tokens.weight[END] = end
    return model.eval()


class Encoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.encoder = model.model.encoder

    def forward(self, mel):
        return self.encoder(mel).last_hidden_state


class Decoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.decoder = model.model.decoder
        self.heads = model.config.decoder_attention_heads
        self.layers = model.config.decoder_layers
        self.width = model.config.d_model // self.heads

    def split(self, x):
        return x.view(x.shape[0], -1, self.heads, self.width).transpose(1, 2)

    def merge(self, x):
        return x.transpose(1, 2).reshape(x.shape[0], -1, self.heads * self.width)

    def decode(self, tokens, positions, self_keys, self_values, cross_keys, cross_values):
        d = self.decoder
        h = d.embed_tokens(tokens) + F.embedding(positions, d.embed_positions.weight)
        mask = (torch.arange(MAX_TOKENS) <= positions[:, None])[None, None]
        new_keys, new_values = [], []
        for i, layer in enumerate(d.layers):
            x, a = layer.self_attn_layer_norm(h), layer.self_attn
            k = self_keys[i].index_copy(2, positions, self.split(a.k_proj(x)))
            v = self_values[i].index_copy(2, positions, self.split(a.v_proj(x)))
            new_keys.append(k)
            new_values.append(v)
            h = h + a.out_proj(self.merge(
                F.scaled_dot_product_attention(self.split(a.q_proj(x)), k, v, attn_mask=mask)))
            x, a = layer.encoder_attn_layer_norm(h), layer.encoder_attn
            h = h + a.out_proj(self.merge(F.scaled_dot_product_attention(
                self.split(a.q_proj(x)), cross_keys[i], cross_values[i])))
            x = layer.final_layer_norm(h)
            h = h + layer.fc2(F.gelu(layer.fc1(x)))
        return F.linear(d.layer_norm(h[:, -1]), d.embed_tokens.weight), *new_keys, *new_values


class CrossKV(Decoder):
    """Encoder output -> keys of all layers, values of all layers."""

    def forward(self, enc):
        attention = [layer.encoder_attn for layer in self.decoder.layers]
        return (*[self.split(a.k_proj(enc)).contiguous() for a in attention],
                *[self.split(a.v_proj(enc)).contiguous() for a in attention])


class Prefill(Decoder):
    """Tokens [1,P] and the cross cache -> the last token's logits, the self cache."""

    def forward(self, tokens, *cross):
        empty = [torch.zeros(1, self.heads, MAX_TOKENS, self.width) for _ in range(self.layers)]
        return self.decode(tokens, torch.arange(tokens.shape[1]), empty, empty,
                           cross[:self.layers], cross[self.layers:])


class Step(Decoder):
    """Token [1,1], its position [1], self cache, cross cache -> logits, self cache."""

    def forward(self, token, position, *caches):
        n = self.layers
        return self.decode(token, position, *[caches[i * n:(i + 1) * n] for i in range(4)])


def make(name):
    _, size, part = name.split("_", 2)
    whole = whole_model(size)
    layers = whole.config.decoder_layers
    mel = noise(1, 80, 3000)
    if part == "encoder":
        return Model(Encoder(whole).eval(), (mel,), ["mel"], ["enc"])

    self_names, cross_names, new_names = (
        [f"{kind}_{c}{i}" for c in "kv" for i in range(layers)]
        for kind in ("self", "cross", "new_self"))
    prompt = torch.tensor([PROMPT])
    with torch.no_grad():
        enc = whole.model.encoder(mel).last_hidden_state
        if part == "cross_kv":
            return Model(CrossKV(whole).eval(), (enc,), ["enc"], cross_names)
        cross = CrossKV(whole)(enc)
        # Greedy decoding by hand gives the inputs: the caches, and a few tokens.
        logits, *cache = Prefill(whole)(prompt, *cross)
        first_cache, tokens = cache, []
        for position in range(len(PROMPT), len(PROMPT) + 4):
            tokens.append(int(logits.argmax()))
            logits, *cache = Step(whole)(torch.tensor([tokens[-1:]]), torch.tensor([position]),
                                         *cache, *cross)
    if part == "step":
        full = [noise(*c.shape, seed=20 + i) * 0.1 for i, c in enumerate(first_cache)]
        return Model(
            Step(whole).eval(),
            (torch.tensor([tokens[:1]]), torch.tensor([len(PROMPT)]), *first_cache, *cross),
            ["token", "position", *self_names, *cross_names], ["logits", *new_names],
            # The last position of a full cache.
            more_inputs=((torch.tensor([[51864]]), torch.tensor([MAX_TOKENS - 1]), *full, *cross),))
    many = torch.randint(0, 51865, (1, MAX_TOKENS), generator=torch.Generator().manual_seed(3))
    return Model(
        Prefill(whole).eval(), (prompt, *cross), ["tokens", *cross_names], ["logits", *new_names],
        dynamic=({1: torch.export.Dim("prompt", min=1, max=MAX_TOKENS)}, (None,) * (2 * layers)),
        more_inputs=((torch.tensor([PROMPT + tokens[:3]]), *cross),
                     (prompt[:, :1], *cross), (many, *cross)))
