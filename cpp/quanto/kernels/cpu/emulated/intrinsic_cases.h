// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

// Every intrinsic that kernels/cpu/emulated has, called once in
// intrinsic_cases.cc. That source is compiled twice, with the real ones and
// with the emulated ones, and the two are compared.

namespace quanto::kernels {

/// How results must agree.
enum class Agreement : uint8_t {
  kBits,
  /// Bits, but any NaN of fp32 for any other: of two, the compiler may let
  /// either come first.
  kNumbers,
};

/// What receives the results, in the order of the calls.
struct CaseSink {
  void* self;
  void (*record)(void* self, const char* what, const void* bytes, size_t size,
                 Agreement agreement);
};

struct CaseInputs {
  alignas(64) uint8_t a[64];
  alignas(64) uint8_t b[64];
  alignas(64) uint8_t c[64];
  uint64_t mask;
  /// Four bytes after which memory may neither be read nor written.
  uint8_t* edge;
};

/// Of three tile registers: sums [rows][columns] of four bytes each, a
/// [rows][words], b [words][columns].
struct TileInputs {
  alignas(64) uint8_t sums[16 * 64];
  alignas(64) uint8_t a[16 * 64];
  alignas(64) uint8_t b[16 * 64];
  int rows;
  int columns;
  int words;
};

/// One set for each table; the CPU must have what the real ones need.
struct IntrinsicCases {
  void (*avx512)(const CaseInputs& in, const CaseSink& sink);
  void (*bf16)(const CaseInputs& in, const CaseSink& sink);
  void (*tiles)(const TileInputs& in, const CaseSink& sink);
};
IntrinsicCases real_intrinsic_cases();
IntrinsicCases emulated_intrinsic_cases();

}  // namespace quanto::kernels
