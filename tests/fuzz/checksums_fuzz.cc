// SPDX-License-Identifier: Apache-2.0
#include <cstddef>
#include <cstdint>
#include <string>

#include "fuzz_check.h"
#include "quanto/io/checksums.h"

// Any text is checksums of 16 hexadecimal digits each, or one error.

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quanto::io;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto checksums = parse_checksums(text, "fuzz");
  if (!checksums.ok()) {
    FUZZ_CHECK(!checksums.error().message.empty());
    return 0;
  }
  for (const auto& [name, checksum] : checksums.value()) {
    FUZZ_CHECK(checksum.size() == 16);
    FUZZ_CHECK(checksum.find_first_not_of("0123456789abcdef") ==
               std::string::npos);
  }
  return 0;
}
