// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace quanto::cli {

/// `quanto inspect` and `quanto verify` of a GGUF file.
void inspect_gguf(const std::string& path, bool as_json);
void verify_gguf(const std::string& path);

}  // namespace quanto::cli
