//===- Audio.h - Samples from a WAV file ------------------------*- C++ -*-===//
//
// Part of marver, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef WHISPER_AUDIO_H
#define WHISPER_AUDIO_H

#include <string>
#include <vector>

namespace whisper {

/// Samples a second that the model takes.
inline constexpr int SampleRate = 16000;

/// Reads a RIFF WAVE file (integer PCM of 8, 16, 24 or 32 bits, or floats of 32
/// or 64) as one channel, the mean of the file's, at SampleRate, in [-1, 1).
/// False and one line in `error` if the file is something else or damaged.
bool readWav(const std::string &path, std::vector<float> &samples,
             std::string &error);

/// `samples` at another rate: each output sample is the sum of the input's
/// under a Hann-windowed sinc, which keeps what is below half of both rates
/// (J. O. Smith, "Digital Audio Resampling Home Page").
std::vector<float> resample(const std::vector<float> &samples, double from,
                            double to);

} // namespace whisper

#endif // WHISPER_AUDIO_H
