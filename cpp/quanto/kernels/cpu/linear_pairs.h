// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

// Codes as bfloat16.

namespace quanto::kernels {
namespace {

/// The codes in the low bits of the index of a 32-entry table, as bfloat16.
template <int kBits>
struct CodeTable {
  alignas(64) uint16_t values[32];

  constexpr CodeTable() : values() {
    for (int i = 0; i < 32; ++i) {
      const auto code = static_cast<float>(i & ((1 << kBits) - 1));
      values[i] =
          static_cast<uint16_t>(__builtin_bit_cast(uint32_t, code) >> 16);
    }
  }
};
template <int kBits>
constexpr CodeTable<kBits> kCodeTable;

}  // namespace
}  // namespace quanto::kernels
