"""RNN, GRU and LSTM, layers and cells."""

import torch
from registry import f, literal, onnx_case, torch_case

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
CELLS = {"RNN": torch.nn.RNN, "GRU": torch.nn.GRU, "LSTM": torch.nn.LSTM}


def weights(kind, size, hidden, directions, *more):
    gates = GATES[kind]
    return [f(directions, gates * hidden, size).const(), f(directions, gates * hidden, hidden).const(), *more]


# ONNX: directions, one step, one batch, odd sizes, biases, lengths, initial states.
for kind in GATES:
    states = 2 if kind == "LSTM" else 1
    for direction in ("forward", "reverse", "bidirectional"):
        d = 2 if direction == "bidirectional" else 1
        bias = f(d, 2 * GATES[kind] * 5).const()
        onnx_case(kind, f(7, 3, 4), *weights(kind, 4, 5, d), outputs=1 + states, hidden_size=5, direction=direction)
        onnx_case(kind, f(7, 3, 4), *weights(kind, 4, 5, d, bias, literal([7, 1, 4], "int32"),
                                             *[f(d, 3, 5)] * states),
                  outputs=1 + states, hidden_size=5, direction=direction)
    onnx_case(kind, f(1, 1, 33), *weights(kind, 33, 17, 1), outputs=1 + states, hidden_size=17)
    onnx_case(kind, f(5, 2, 64), *weights(kind, 64, 64, 1), outputs=1 + states, hidden_size=64, clip=0.2)
    onnx_case(kind, f(7, 3, 4), *weights(kind, 4, 5, 1), outputs=1 + states, hidden_size=5,
              also=[(f(2, 1, 4), *weights(kind, 4, 5, 1))])
onnx_case("GRU", f(7, 3, 4), *weights("GRU", 4, 5, 1, f(1, 30).const()), outputs=2, hidden_size=5, linear_before_reset=1)
onnx_case("RNN", f(7, 3, 4), *weights("RNN", 4, 5, 1), outputs=2, hidden_size=5, activations=["Relu"])
onnx_case("LSTM", f(7, 3, 4), *weights("LSTM", 4, 5, 1), outputs=3, hidden_size=5,
          activations=["HardSigmoid", "LeakyRelu", "Softsign"], activation_alpha=[0.3, 0.2], activation_beta=[0.4])
onnx_case("LSTM", f(7, 3, 4), *weights("LSTM", 4, 5, 1, f(1, 40).const(), None, f(1, 3, 5), f(1, 3, 5), f(1, 15).const()),
          outputs=3, hidden_size=5)

# PyTorch: layers, directions, batches first, projections, sizes that are known late.
class Layer(torch.nn.Module):
    def __init__(self, layer, call=lambda layer, *inputs: torch.utils._pytree.tree_leaves(layer(*inputs))):
        super().__init__()
        self.layer, self.call = layer, call

    def forward(self, *inputs):
        return self.call(self.layer, *inputs)


torch.manual_seed(0)
for kind, cell in CELLS.items():
    name = kind.lower()
    for layers, both, first, bias in ((1, False, False, True), (2, False, True, True), (2, True, False, True),
                                      (1, True, True, False)):
        torch_case(name, Layer(cell(9, 17, layers, bias=bias, batch_first=first, bidirectional=both)), f(3, 5, 9))
    torch_case(name, Layer(cell(8, 16)), f(6, 2, 8), also=[(f(6, 3, 8),), (f(6, 5, 8),)])
    torch_case(name + "_states", Layer(cell(8, 16), lambda m, x, h: m(x, (h, h * 2) if m.mode == "LSTM" else h)[0]),
               f(6, 2, 8), f(1, 2, 16))
    torch_case(name + "_unbatched", Layer(cell(8, 16)), f(6, 8))
torch_case("lstm_projection", Layer(torch.nn.LSTM(8, 16, proj_size=5)), f(4, 2, 8))
torch_case("rnn_relu", Layer(torch.nn.RNN(8, 16, nonlinearity="relu")), f(4, 2, 8))
for cell in (torch.nn.LSTMCell, torch.nn.GRUCell, torch.nn.RNNCell):
    torch_case(cell.__name__, Layer(cell(8, 16)), f(3, 8))
