// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace quanto::ops {

/// [pixels][outputs] to [outputs] planes that lie `stride` elements apart.
void transpose_into_planes(const std::byte* rows, int64_t pixels,
                           int64_t outputs, int64_t element_size,
                           int64_t stride, std::byte* planes);

}  // namespace quanto::ops
