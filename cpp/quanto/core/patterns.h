// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

// Shell patterns of dotted module names, as `include` and `exclude` of
// quantize() in Python take them.

namespace quanto {

/// `*`, `?`, `[abc]`, `[!abc]`; a dot is a character like any other.
bool matches(const std::string& name, const std::string& pattern);
bool matches_any(const std::string& name,
                 const std::vector<std::string>& patterns);

/// What stands after the last dot.
std::string leaf_of(const std::string& name);

/// Whether the pattern says the module's own name, or a part of it, and not
/// only its parents': "model.embed_tokens", "*embed*" and "*.wte" do, "*" and
/// "model.*" do not.
bool names_it(const std::string& name, const std::string& pattern);

}  // namespace quanto
