"""Whisper from log-mel spectrum to tokens in one function: encoder, prompt, and greedy
decoding as a loop that ends at the end token.

One export returns the ids as they are, whose number depends on the data, the other a
buffer of the greatest length and the count.
"""

import torch
from torch import nn
from torch._higher_order_ops.while_loop import while_loop

from exporting import Model, noise
from whisper import END, MAX_TOKENS, PROMPT, CrossKV, Decoder, whole_model

# Where the two best logits are this close, rounding may choose the token: the cases
# are such that this does not happen.
MARGIN = 1e-3


class Greedy(nn.Module):
    """Mel [1,80,3000] -> ids [1,n] with the prompt and the end; or [1,448] and n."""

    def __init__(self, model, is_buffer):
        super().__init__()
        self.encoder = model.model.encoder
        self.cross = CrossKV(model)
        self.decoder = Decoder(model)
        self.is_buffer = is_buffer
        self.register_buffer("prompt", torch.tensor([PROMPT]))

    def begin(self, mel):
        """The first token's logits, the self and the cross caches."""
        d, length = self.decoder, self.prompt.shape[1]
        cross = self.cross(self.encoder(mel).last_hidden_state)
        empty = [torch.zeros(1, d.heads, MAX_TOKENS, d.width) for _ in range(d.layers)]
        logits, *caches = d.decode(self.prompt, torch.arange(length), empty, empty,
                                   cross[:d.layers], cross[d.layers:])
        return logits, caches, cross

    def forward(self, mel):
        n, length = self.decoder.layers, self.prompt.shape[1]
        logits, caches, cross = self.begin(mel)
        token = logits.argmax(-1, keepdim=True)
        rest = torch.full((1, MAX_TOKENS - length - 1), END)
        ids = torch.cat((self.prompt, token, rest), 1)

        def goes_on(count, token, ids, *caches):
            return (count < MAX_TOKENS) & (token != END).reshape(())

        def step(count, token, ids, *caches):
            logits, *caches = self.decoder.decode(token, (count - 1).reshape(1), caches[:n], caches[n:],
                                                  cross[:n], cross[n:])
            token = logits.argmax(-1, keepdim=True)
            return count + 1, token, ids.index_copy(1, count.reshape(1), token), *caches

        count, _, ids, *_ = while_loop(goes_on, step, (torch.full((), length + 1), token, ids, *caches))
        if self.is_buffer:
            return ids, count
        size = count.item()
        torch._check(size >= 1)
        torch._check(size <= MAX_TOKENS)
        return ids[:, :size]


def ids_by_hand(greedy, mel):
    """The same decoding without the loop operator."""
    n = greedy.decoder.layers
    logits, caches, cross = greedy.begin(mel)
    ids = list(PROMPT)
    while True:
        best = logits[0].topk(2).values
        if best[0] - best[1] < MARGIN:
            raise SystemExit(f"token {len(ids)} is decided by {best[0] - best[1]}: draw another case")
        ids.append(int(logits.argmax()))
        if ids[-1] == END or len(ids) == MAX_TOKENS:
            return ids
        logits, *caches = greedy.decoder.decode(torch.tensor([ids[-1:]]), torch.tensor([len(ids) - 1]),
                                                caches[:n], caches[n:], cross[:n], cross[n:])


def make(name):
    _, size, _, *variant = name.split("_")
    greedy = Greedy(whole_model(size), is_buffer=variant == ["buffer"]).eval()
    def sound(frames, seed):
        return (torch.cat((noise(1, 80, frames, seed=seed), torch.zeros(1, 80, 3000 - frames)), 2),)

    inputs = [sound(1500, 7), sound(700, 5), (torch.full((1, 80, 3000), -1.0),)]
    with torch.no_grad():
        for mel, in inputs:
            ids, result = ids_by_hand(greedy, mel), greedy(mel)
            if greedy.is_buffer:
                result = result[0][:, :int(result[1])]
            if result[0].tolist() != ids:
                raise SystemExit("the loop gives other ids than decoding by hand")
            print(f"{name}: {len(ids)} ids")
    return Model(greedy, inputs[0], ["mel"], ["ids", "count"] if greedy.is_buffer else ["ids"],
                 more_inputs=tuple(inputs[1:]), loops=True)
