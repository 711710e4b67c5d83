// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/packing.h"
#include "quanto/kernels/ref/element.h"
#include "quanto/kernels/ref/functions.h"

namespace quanto::kernels::ref {

void pack(const uint8_t* codes, int64_t rows, int64_t columns, int bits,
          uint8_t* packed, Executor& executor) {
  const int64_t bytes = packed_rows(rows, bits);
  const int mask = (1 << bits) - 1;
  const auto pack_row = [&](int64_t row) {
    for (int64_t column = 0; column < columns; ++column) {
      int byte = 0;
      for (int64_t j = 0; j < codes_per_byte(bits); ++j) {
        const int64_t source = j * bytes + row;
        if (source >= rows) break;
        byte |= (codes[source * columns + column] & mask)
                << (static_cast<int>(j) * bits);
      }
      packed[row * columns + column] = static_cast<uint8_t>(byte);
    }
  };
  executor.parallel_for(bytes, grain_of(columns),
                        [&](int64_t begin, int64_t end) {
                          for (int64_t row = begin; row < end; ++row) {
                            pack_row(row);
                          }
                        });
}

void unpack(const uint8_t* packed, int64_t packed_rows, int64_t columns,
            int bits, uint8_t* codes, Executor& executor) {
  const int64_t rows = packed_rows * codes_per_byte(bits);
  const int mask = (1 << bits) - 1;
  executor.parallel_for(
      rows, grain_of(columns), [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const PackedRow place = packed_row(row, rows, bits);
          for (int64_t column = 0; column < columns; ++column) {
            const int byte = packed[place.row * columns + column];
            codes[row * columns + column] =
                static_cast<uint8_t>((byte >> place.shift) & mask);
          }
        }
      });
}

}  // namespace quanto::kernels::ref
