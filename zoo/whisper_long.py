"""Whisper's prefill of a prompt that fills the whole cache: a shape where attention and
the products have many rows, of its own because it is exported for that length alone."""

import torch
from exporting import Model, noise
from whisper import MAX_TOKENS, CrossKV, Prefill, whole_model


def make(name):
    _, size, _, length = name.split("_")
    whole = whole_model(size)
    with torch.no_grad():
        cross = CrossKV(whole)(whole.model.encoder(noise(1, 80, 3000)).last_hidden_state)
    layers = whole.config.decoder_layers
    tokens = torch.randint(0, 51865, (1, int(length)), generator=torch.Generator().manual_seed(3))
    assert tokens.shape[1] <= MAX_TOKENS
    names = [[f"{kind}_{c}{i}" for c in "kv" for i in range(layers)] for kind in ("cross", "new_self")]
    return Model(Prefill(whole).eval(), (tokens, *cross), ["tokens", *names[0]], ["logits", *names[1]])
