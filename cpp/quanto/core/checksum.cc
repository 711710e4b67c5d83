// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/checksum.h"

#include <fmt/format.h>

// The library's own name. NOLINTNEXTLINE(readability-identifier-naming)
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace quanto {

std::string checksum(std::span<const std::byte> bytes) {
  return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size()));
}

}  // namespace quanto
