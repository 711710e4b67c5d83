// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstring>

#include "quanto/kernels/conv.h"
#include "quanto/kernels/cpu/amx_config.h"
#include "quanto/kernels/cpu/linear_input.h"

// The taps of a convolution as rows of tiles: of each 16 outputs and 32
// channels a tile for every place of the kernel.

namespace quanto::kernels {
namespace {

constexpr int64_t kTileOutputs = kAmxRows;
constexpr int64_t kTileChannels = 2 * kAmxWidth;
/// Elements of a tile.
constexpr int64_t kTapTile = kTileOutputs * kTileChannels;

/// Eight and 32 words.
using Words8 [[gnu::vector_size(16)]] = uint16_t;
using Words32 [[gnu::vector_size(64)]] = uint16_t;

/// Words at `words` and three times `stride` further.
inline Words32 load_quarters(const uint16_t* words, int64_t stride) {
  Words8 part[4];
  QUANTO_UNROLL for (int i = 0; i < 4; ++i) {
    std::memcpy(&part[i], words + i * stride, sizeof(Words8));
  }
  const auto join = [](Words8 a, Words8 b) {
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
                                   12, 13, 14, 15);
  };
  return __builtin_shufflevector(join(part[0], part[1]), join(part[2], part[3]),
                                 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
                                 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                                 26, 27, 28, 29, 30, 31);
}

/// Words of the first halves of the quarters of a and b in turns.
inline Words32 zip_low(Words32 a, Words32 b) {
  return __builtin_shufflevector(a, b, 0, 32, 1, 33, 2, 34, 3, 35, 8, 40, 9, 41,
                                 10, 42, 11, 43, 16, 48, 17, 49, 18, 50, 19, 51,
                                 24, 56, 25, 57, 26, 58, 27, 59);
}
/// The same of the second halves.
inline Words32 zip_high(Words32 a, Words32 b) {
  return __builtin_shufflevector(a, b, 4, 36, 5, 37, 6, 38, 7, 39, 12, 44, 13,
                                 45, 14, 46, 15, 47, 20, 52, 21, 53, 22, 54, 23,
                                 55, 28, 60, 29, 61, 30, 62, 31, 63);
}

/// Eight places of kTileChannels channels, whose taps are `stride` apart, to
/// `rows` rows of channels, a tile apart. In each quarter of the vectors eight
/// channels: after three rounds of zipping row i with row i + 4, row i is place
/// i of all.
inline void transpose_places(const uint16_t* taps, int64_t stride, int64_t rows,
                             uint16_t* out) {
  Words32 block[8];
  QUANTO_UNROLL for (int i = 0; i < 8; ++i) {
    block[i] = load_quarters(taps + i * stride, 8 * stride);
  }
  QUANTO_UNROLL for (int round = 0; round < 3; ++round) {
    Words32 zipped[8];
    QUANTO_UNROLL for (int i = 0; i < 4; ++i) {
      zipped[2 * i] = zip_low(block[i], block[i + 4]);
      zipped[2 * i + 1] = zip_high(block[i], block[i + 4]);
    }
    QUANTO_UNROLL for (int i = 0; i < 8; ++i) block[i] = zipped[i];
  }
  QUANTO_UNROLL for (int i = 0; i < 8; ++i) {
    if (i < rows) std::memcpy(out + i * kTapTile, &block[i], sizeof(Words32));
  }
}

/// Taps to tiles [groups][kTileOutputs outputs][kTileChannels channels][places
/// of the kernel][output][channel], zeros past the last output and channel.
class TileTaps {
 public:
  TileTaps(const ConvProblem& problem, const void* taps)
      : problem_(problem),
        taps_(taps),
        places_(problem.kernel.y * problem.kernel.x),
        chunks_(ceil_div(problem.channels, kTileChannels)),
        tiles_(ceil_div(problem.outputs, kTileOutputs)) {}

  [[nodiscard]] int64_t places() const { return places_; }
  [[nodiscard]] int64_t chunks() const { return chunks_; }
  /// Of one group.
  [[nodiscard]] int64_t tiles() const { return tiles_; }
  /// Elements for one tile of outputs.
  [[nodiscard]] int64_t tile_size() const {
    return chunks_ * places_ * kTapTile;
  }

  void write(uint16_t* out, Executor& executor) const {
    executor.parallel_for(
        problem_.groups * tiles_, ceil_div(kThreadTaps, tile_size()),
        [&](int64_t begin, int64_t end) {
          auto* room =
              reinterpret_cast<uint16_t*>(executor.scratch(room_size() * 2));
          for (int64_t i = begin; i < end; ++i) {
            write_tile(i, room, out + i * tile_size());
          }
        });
  }

 private:
  static constexpr int64_t kThreadTaps = int64_t{1} << 15;
  /// Words that a vector of places reaches past the last.
  static constexpr int64_t kOverrun = 7;

  [[nodiscard]] size_t room_size() const {
    return static_cast<size_t>(kTileChannels * places_ + kOverrun);
  }

  void write_tile(int64_t tile, uint16_t* room, uint16_t* out) const {
    const int64_t first = tile % tiles_ * kTileOutputs;
    const int64_t outputs = smaller(kTileOutputs, problem_.outputs - first);
    const int64_t output = tile / tiles_ * problem_.outputs + first;
    if (outputs < kTileOutputs) {
      std::memset(out, 0, static_cast<size_t>(tile_size()) * 2);
    }
    for (int64_t o = 0; o < outputs; ++o) {
      for (int64_t c = 0; c < chunks_; ++c) {
        const uint16_t* taps = run(output + o, c * kTileChannels, room);
        uint16_t* row = out + c * places_ * kTapTile + o * kTileChannels;
        for (int64_t p = 0; p < places_; p += 8) {
          transpose_places(taps + p, places_, smaller(8, places_ - p),
                           row + p * kTapTile);
        }
      }
    }
  }

  /// Bfloat16 taps of the channels from `channel` on: where they stand, or
  /// copied to `room`.
  const uint16_t* run(int64_t output, int64_t channel, uint16_t* room) const {
    const int64_t first = (output * problem_.channels + channel) * places_;
    const int64_t all = kTileChannels * places_;
    const int64_t count = smaller(all, (problem_.channels - channel) * places_);
    const int64_t total = problem_.groups * problem_.outputs * problem_.taps();
    if (problem_.taps_dtype == DType::kBFloat16) {
      const uint16_t* taps = static_cast<const uint16_t*>(taps_) + first;
      if (count == all && first + all + kOverrun <= total) return taps;
      std::memcpy(room, taps, static_cast<size_t>(count) * 2);
    } else {
      for_each_vector(count, [&](int64_t i, auto lanes) {
        Element<DType::kBFloat16>::store(
            room, i, Element<DType::kFloat32>::load(taps_, first + i, lanes),
            lanes);
      });
    }
    for (int64_t i = count; i < all + kOverrun; ++i) room[i] = 0;
    return room;
  }

  const ConvProblem& problem_;
  const void* taps_;
  int64_t places_;
  int64_t chunks_;
  int64_t tiles_;
};

}  // namespace
}  // namespace quanto::kernels
