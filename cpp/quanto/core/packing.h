// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace quanto {

// Packed layout of 4- and 2-bit codes
//
// A code matrix [rows][columns] of unsigned codes (one byte each, < 2^bits) is
// packed along its rows into bytes [R][columns], where P = 8 / bits codes share
// a byte and R = ceil(rows / P). Item j (counted from the low bits) of byte
// (r, c) is the code of row j * R + r and column c; rows past the end are 0.
// All items of one byte thus lie in the same column, R rows apart:
//
//   4 bits: byte (r, c) = code[r][c] | code[r + R][c] << 4
//   2 bits: byte (r, c) = code[r][c] | code[r + R][c] << 2 |
//                         code[r + 2R][c] << 4 | code[r + 3R][c] << 6
//
// For a weight [O][I] in groups of g along I the code matrix is the matrix of
// group rows [O * I/g][g] (grouping.h). If P divides O this is, byte for byte,
// the packed matrix [O/P][I]: item j of byte (r, k) is w[r + j * O/P][k].
// Otherwise the planes split inside an output row: address group rows.

/// Codes in one byte.
constexpr int64_t codes_per_byte(int bits) { return 8 / bits; }

/// Rows R of the packed matrix.
constexpr int64_t packed_rows(int64_t rows, int bits) {
  const int64_t codes = codes_per_byte(bits);
  return (rows + codes - 1) / codes;
}

/// Where the code of matrix row `row` stands: packed row and right shift.
struct PackedRow {
  int64_t row;
  int shift;
};

constexpr PackedRow packed_row(int64_t row, int64_t rows, int bits) {
  const int64_t planes = packed_rows(rows, bits);
  return {row % planes, static_cast<int>(row / planes) * bits};
}

}  // namespace quanto
