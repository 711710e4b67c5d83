// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "quanto/kernels/cpu/emulated/bf16.h"

// The tile registers of AMX. What the CPU would refuse ends the program.

namespace quanto::kernels {
namespace {

constexpr int kTileCount = 8;
constexpr int kTileRowBytes = 64;
constexpr int kTileRowCount = 16;

/// What LDTILECFG reads.
struct TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

struct TileRegister {
  int rows;
  int row_bytes;
  uint8_t data[kTileRowCount][kTileRowBytes];
};

struct TileRegisters {
  bool configured;
  TileRegister tile[kTileCount];
};
thread_local TileRegisters tile_registers = {};

inline void require(bool holds) {
  if (!holds) __builtin_trap();
}

inline TileRegister& configured_tile(int number) {
  require(tile_registers.configured && number >= 0 && number < kTileCount);
  TileRegister& tile = tile_registers.tile[number];
  require(tile.rows > 0);
  return tile;
}

inline void _tile_release() { tile_registers = {}; }

inline void _tile_loadconfig(const void* from) {
  TileConfig config;
  __builtin_memcpy(&config, from, sizeof(config));
  require(config.palette == 1 && config.start_row == 0);
  for (const uint8_t byte : config.reserved) require(byte == 0);
  _tile_release();
  tile_registers.configured = true;
  for (int t = 0; t < 16; ++t) {
    const int rows = config.rows[t];
    const int row_bytes = config.row_bytes[t];
    require((rows == 0) == (row_bytes == 0));
    require(rows == 0 || t < kTileCount);
    require(rows <= kTileRowCount && row_bytes <= kTileRowBytes &&
            row_bytes % 4 == 0);
    if (t < kTileCount) {
      tile_registers.tile[t].rows = rows;
      tile_registers.tile[t].row_bytes = row_bytes;
    }
  }
}

inline void _tile_zero(int number) {
  TileRegister& tile = configured_tile(number);
  __builtin_memset(tile.data, 0, sizeof(tile.data));
}

/// Rows and columns that the configuration leaves out become 0.
inline void _tile_loadd(int number, const void* from, long stride) {
  _tile_zero(number);
  TileRegister& tile = configured_tile(number);
  for (int r = 0; r < tile.rows; ++r) {
    __builtin_memcpy(tile.data[r], static_cast<const char*>(from) + r * stride,
                     static_cast<size_t>(tile.row_bytes));
  }
}
inline void _tile_stream_loadd(int number, const void* from, long stride) {
  _tile_loadd(number, from, stride);
}
inline void _tile_stored(int number, void* to, long stride) {
  const TileRegister& tile = configured_tile(number);
  for (int r = 0; r < tile.rows; ++r) {
    __builtin_memcpy(static_cast<char*>(to) + r * stride, tile.data[r],
                     static_cast<size_t>(tile.row_bytes));
  }
}

/// Three tiles that fit: sum [rows][columns], a [rows][words] and b
/// [words][columns] of four bytes each.
struct TileProduct {
  TileProduct(int sum_number, int a_number, int b_number)
      : sum(configured_tile(sum_number)),
        a(configured_tile(a_number)),
        b(configured_tile(b_number)),
        columns(sum.row_bytes / 4),
        words(a.row_bytes / 4) {
    require(sum_number != a_number && sum_number != b_number &&
            a_number != b_number);
    require(sum.rows == a.rows && sum.row_bytes == b.row_bytes &&
            words == b.rows);
  }

  TileRegister& sum;
  const TileRegister& a;
  const TileRegister& b;
  int columns;
  int words;
};

/// Four products of signed bytes a word; the sum wraps.
inline void _tile_dpbssd(int sum, int a, int b) {
  const TileProduct p(sum, a, b);
  for (int r = 0; r < p.sum.rows; ++r) {
    int32_t sums[16];
    __builtin_memcpy(sums, p.sum.data[r], sizeof(sums));
    for (int k = 0; k < p.words; ++k) {
      for (int c = 0; c < p.columns; ++c) {
        int32_t dot = 0;
        for (int i = 0; i < 4; ++i) {
          dot += static_cast<int8_t>(p.a.data[r][4 * k + i]) *
                 static_cast<int8_t>(p.b.data[k][4 * c + i]);
        }
        sums[c] = static_cast<int32_t>(static_cast<uint32_t>(sums[c]) +
                                       static_cast<uint32_t>(dot));
      }
    }
    __builtin_memcpy(p.sum.data[r], sums, sizeof(sums));
  }
}

/// Products of even and of odd numbers are summed apart, from 0; then both
/// sums, then those and what the tile held.
inline void _tile_dpbf16ps(int sum, int a, int b) {
  const TileProduct p(sum, a, b);
  const auto number = [](const uint8_t* bytes, int i) {
    uint16_t bits;
    __builtin_memcpy(&bits, bytes + 2 * i, sizeof(bits));
    return bf16_to_float(bits);
  };
  // Once, and not for every row of a.
  float b_even[kTileRowCount][16];
  float b_odd[kTileRowCount][16];
  for (int k = 0; k < p.words; ++k) {
    for (int c = 0; c < p.columns; ++c) {
      b_even[k][c] = number(p.b.data[k], 2 * c);
      b_odd[k][c] = number(p.b.data[k], 2 * c + 1);
    }
  }
  for (int r = 0; r < p.sum.rows; ++r) {
    float sums[16];
    float even[16] = {};
    float odd[16] = {};
    __builtin_memcpy(sums, p.sum.data[r], sizeof(sums));
    for (int k = 0; k < p.words; ++k) {
      const float a0 = number(p.a.data[r], 2 * k);
      const float a1 = number(p.a.data[r], 2 * k + 1);
      for (int c = 0; c < p.columns; ++c) {
        even[c] = flushed_fma(a0, b_even[k][c], even[c]);
        odd[c] = flushed_fma(a1, b_odd[k][c], odd[c]);
      }
    }
    for (int c = 0; c < p.columns; ++c) {
      sums[c] = flushed_add(flushed(sums[c]), flushed_add(even[c], odd[c]));
    }
    __builtin_memcpy(p.sum.data[r], sums, sizeof(sums));
  }
}

}  // namespace
}  // namespace quanto::kernels
