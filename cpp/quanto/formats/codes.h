// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quanto/formats/quanto.h"
#include "quanto/io/checkpoint.h"

namespace quanto::formats {

/// The tensors of a quantized weight; `shift` may be missing.
struct Parts {
  io::Checkpoint::Found data, scale, shift;
};

/// What the tensors themselves say of the weight.
struct Codes {
  WeightFacts facts;
  /// Of the weight, or [groups][group_size] if it is not known from the codes.
  std::vector<int64_t> shape;
  bool shape_known;
};

/// Codes of 8 bits. Errors: other tensors than such codes have.
io::Result<Codes> read_bytes(const Parts& parts);

/// Packed codes. `said` is the type where the tensors would fit 4 and 2 bits
/// alike. Errors: other tensors than such codes have.
io::Result<Codes> read_packed(const Parts& parts, std::optional<QTypeId> said);

/// `expected X as 'NAME', got Y`, at the tensor's data.
io::Error wrong(const io::Checkpoint::Found& tensor,
                const std::string& expected, const std::string& got);

/// "[2, 3]".
std::string shape_text(const std::vector<int64_t>& shape);

/// The product of the sizes.
int64_t numel_of(const std::vector<int64_t>& shape);

}  // namespace quanto::formats
