// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>

/// Ends the run, in every kind of build, with the condition that failed.
#define FUZZ_CHECK(condition)                                        \
  if (!(condition)) {                                                \
    std::fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, \
                 #condition);                                        \
    std::abort();                                                    \
  }
