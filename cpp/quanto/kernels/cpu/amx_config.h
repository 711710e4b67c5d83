// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// The shape of the tile registers of AMX in every kernel.

namespace quanto::kernels {
namespace {

/// Rows of a tile register, and dwords of one of its rows.
constexpr int64_t kAmxRows = 16;
constexpr int64_t kAmxWidth = 16;
constexpr int64_t kAmxTile = kAmxRows * kAmxWidth;

/// What LDTILECFG reads: eight tile registers of 16 rows of 64 bytes. Constant
/// data, because the intrinsic does not say that all of it is read.
struct AmxConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
alignas(64) constexpr AmxConfig kAmxConfig;

}  // namespace
}  // namespace quanto::kernels
