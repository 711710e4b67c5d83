// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/patterns.h"

#include <fnmatch.h>

#include <algorithm>

namespace quanto {

bool matches(const std::string& name, const std::string& pattern) {
  return ::fnmatch(pattern.c_str(), name.c_str(), FNM_NOESCAPE) == 0;
}

bool matches_any(const std::string& name,
                 const std::vector<std::string>& patterns) {
  return std::ranges::any_of(patterns, [&](const std::string& pattern) {
    return matches(name, pattern);
  });
}

std::string leaf_of(const std::string& name) {
  return name.substr(name.rfind('.') + 1);  // npos + 1 is 0
}

bool names_it(const std::string& name, const std::string& pattern) {
  const std::string last = leaf_of(pattern);
  return last.find_first_not_of("*?") != std::string::npos &&
         matches(name, pattern) && matches(leaf_of(name), last);
}

}  // namespace quanto
