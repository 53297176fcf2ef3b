#!/usr/bin/env python3
"""From sound to text: examples/whisper, built from an installed prefix.

usage: whisper.py BUILD SOURCE

Compiles the zoo's two speech models into one module, and has the program transcribe
sentences spoken by espeak-ng, from WAV files of several formats: the text must be
that of the token ids which transformers' Whisper gave when the models were exported.
"""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

BUILD, SOURCE = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
sys.path.insert(0, str(SOURCE / "tests" / "harness"))
from marver import run_in_environment  # noqa: E402

import export  # noqa: E402

run_in_environment()
import numpy as np  # noqa: E402
import speech  # noqa: E402


def characters_of_bytes():
    """GPT-2's printable character for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


def text_of(ids, vocabulary, bytes_of):
    tokens = [vocabulary[i] for i in ids if not re.fullmatch(r"<\|.*\|>", vocabulary[i])]
    return bytes(bytes_of[c] for token in tokens for c in token).decode().strip()


def segments_of(ids, vocabulary, bytes_of):
    """(begin, end, text) of one window's ids."""
    segments, begin, text = [], None, []
    for i in ids:
        time = re.fullmatch(r"<\|(\d+\.\d+)\|>", vocabulary[i])
        if not time:
            text.append(i)
        elif begin is not None and text_of(text, vocabulary, bytes_of):
            segments.append((begin, float(time[1]), text_of(text, vocabulary, bytes_of)))
            begin, text = None, []
        else:
            begin, text = float(time[1]), []
    return segments


def clock(seconds):
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{seconds % 60:05.2f}"


def write_wav(path, samples, code="<i2", channels=1, extensible=False):
    """`samples` in [-1, 1) at 16 kHz, as integers or floats of any width."""
    if code == "i24":
        values = (samples * 2**23).round().astype("<i4")
        data = np.repeat(values[:, None], channels, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        kind, width = 1, 3
    else:
        dtype = np.dtype(code)
        kind, width = (3 if dtype.kind == "f" else 1), dtype.itemsize
        values = samples if kind == 3 else (samples * 2 ** (8 * width - 1)).round()
        values = values + 128 if dtype.kind == "u" else values
        data = np.repeat(values.astype(dtype)[:, None], channels, 1).tobytes()
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else kind, channels, speech.RATE,
                       speech.RATE * channels * width, channels * width, 8 * width)
    if extensible:
        form += struct.pack("<HHIH14s", 22, 8 * width, 0, kind, b"\0" * 14)
    # A chunk of an odd length before the data: readers must skip it and its padding.
    chunks = (b"fmt " + struct.pack("<I", len(form)) + form + b"junk\3\0\0\0abc\0"
              + b"data" + struct.pack("<I", len(data)) + data)
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


def run(*command, status=0):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != status:
        raise SystemExit(f"{command}: exit {result.returncode}, not {status}\n{result.stderr}")
    return result.stdout if status == 0 else result.stderr


def expect(got, want, what):
    if got != want:
        raise SystemExit(f"{what}: got\n{got}instead of\n{want}")
    print(f"ok    {what}")


def main(work):
    models = {entry: export.ensure(f"whisper_tiny_en_{entry}") for entry in ("text", "timestamps")}
    vocabulary_file = speech.package() / "vocabulary.txt"
    vocabulary, bytes_of = vocabulary_file.read_text().split("\n"), characters_of_bytes()

    run("cmake", "--install", BUILD, "--prefix", work / "prefix", "--component", "runtime")
    shutil.copytree(SOURCE / "examples" / "whisper", work / "whisper")
    run("cmake", "-S", work / "whisper", "-B", work / "build", "-G", "Ninja",
        f"-DCMAKE_PREFIX_PATH={work / 'prefix'}", "-DCMAKE_CXX_COMPILER=clang++-22",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
    run("cmake", "--build", work / "build")
    transcribe, module = work / "build" / "transcribe", work / "whisper.mv"
    sources = {entry: folder / f"whisper_tiny_en_{entry}_dyn.pt2" for entry, folder in models.items()}
    run(BUILD / "bin" / "marver-compile", *(f"{e}={path}" for e, path in sources.items()),
        "-o", module)
    # The weights are in the module once.
    if module.stat().st_size > 1.05 * sources["text"].stat().st_size:
        raise SystemExit(f"{module.stat().st_size} bytes: the weights are not shared")

    def said(entry, case):
        return np.load(models[entry] / str(case) / "out0.npy")[0].tolist()

    for case in range(2):
        samples = np.load(models["text"] / str(case) / "in0.npy")[0]
        text = text_of(said("text", case), vocabulary, bytes_of) + "\n"
        wav = work / "speech.wav"
        for code, channels, extensible in (("<f4", 1, False), ("<i2", 1, False), ("<i2", 2, True),
                                           ("i24", 2, False), ("<i4", 1, False), ("<f8", 3, False)):
            write_wav(wav, samples, code, channels, extensible)
            expect(run(transcribe, module, vocabulary_file, wav), text,
                   f"sentence {case}, {code}, {channels} channels")
        write_wav(wav, samples, "<f4")
        times = "".join(f"[{clock(b)} --> {clock(e)}] {t}\n" for b, e, t in
                        segments_of(said("timestamps", case), vocabulary, bytes_of))
        for threads in (1, 2):
            expect(run(transcribe, "--timestamps", f"--threads={threads}", module,
                       vocabulary_file, wav), times, f"sentence {case}, {threads} threads")

    # What espeak-ng itself writes, at its own rate.
    run("espeak-ng", "-w", work / "espoken.wav", "Good morning. This is a test of the machine.")
    words = run(transcribe, module, vocabulary_file, work / "espoken.wav").lower()
    for word in ("good morning", "test", "machine"):
        if word not in words:
            raise SystemExit(f"heard {words!r}, without {word!r}")
    print("ok    a file at 22050 Hz")

    # More than one window: each sentence is found at its place.
    samples = np.load(models["text"] / "0" / "in0.npy")[0]
    write_wav(wav, np.concatenate([samples, np.zeros(480000 - len(samples), np.float32), samples]))
    expect(run(transcribe, module, vocabulary_file, wav),
           2 * (text_of(said("text", 0), vocabulary, bytes_of) + "\n"), "two windows")

    empty = work / "empty.wav"
    for contents, words in ((b"", "not a WAV file"), (b"RIFF\0\0\0\0WAVE", "without samples"),
                            (b"RIFF\0\0\0\0WAVEdata\4\0\0\0abcd", "unsupported format")):
        empty.write_bytes(contents)
        message = run(transcribe, module, vocabulary_file, empty, status=1)
        if words not in message or message.count("\n") != 1:
            raise SystemExit(f"{contents}: {message!r}")
    run(transcribe, module, vocabulary_file, work / "absent.wav", status=1)
    run(transcribe, vocabulary_file, vocabulary_file, wav, status=1)
    run(transcribe, "--threads=x", module, vocabulary_file, wav, status=2)
    print("ok    bad input")


with tempfile.TemporaryDirectory() as folder:
    main(Path(folder))
