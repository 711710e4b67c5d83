// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace quanto {

/// XXH3 of 64 bits with seed 0, as 16 hexadecimal digits in lower case, the
/// first of the highest bits: what `xxhsum -H3` prints. It finds accidents, not
/// forgeries.
std::string checksum(std::span<const std::byte> bytes);

}  // namespace quanto
