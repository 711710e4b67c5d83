// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quanto/io/gguf_cursor.h"
#include "quanto/io/gguf_types.h"
#include "quanto/io/result.h"

namespace quanto::io {

constexpr uint32_t kMaxGgufRank = 4;

struct GgufTensor {
  std::string name;
  const GgufType* type = nullptr;
  std::vector<int64_t> shape;  ///< outermost first, as torch has it
  uint64_t begin = 0;          ///< in the data
  uint64_t bytes = 0;

  [[nodiscard]] int64_t numel() const;
};

/// The tensor at the cursor, without a look at where its data ends. Errors: no
/// name; a rank, a shape or a number of bytes that is too large; a type that is
/// not known; rows that are no whole blocks; an offset that is not aligned.
Result<GgufTensor> read_gguf_tensor(GgufCursor& cursor, uint64_t alignment);

}  // namespace quanto::io
