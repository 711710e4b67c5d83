// SPDX-License-Identifier: Apache-2.0
#include "quanto/core/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace quanto {
namespace {

constexpr int64_t kCounts[] = {0, 1, 2, 3, 7, 64, 1000, 1001};
constexpr int64_t kGrains[] = {0, 1, 3, 64, 999, 5000};

/// 0 threads: the serial executor.
std::unique_ptr<Executor> make_executor(int threads) {
  if (threads == 0) return std::make_unique<SerialExecutor>();
  return std::make_unique<ThreadPool>(threads);
}

class ExecutorTest : public testing::TestWithParam<int> {
 protected:
  std::unique_ptr<Executor> executor_ = make_executor(GetParam());
};

TEST_P(ExecutorTest, RangesAreDisjointAndComplete) {
  for (const int64_t count : kCounts) {
    for (const int64_t grain : kGrains) {
      std::vector<std::atomic<int>> visits(count);
      executor_->parallel_for(count, grain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++visits[i];
      });
      for (const auto& visit : visits) EXPECT_EQ(visit, 1);
    }
  }
}

TEST_P(ExecutorTest, RangesAreNoSmallerThanTheGrain) {
  for (const int64_t count : kCounts) {
    for (const int64_t grain : kGrains) {
      std::mutex mutex;
      executor_->parallel_for(count, grain, [&](int64_t begin, int64_t end) {
        const std::scoped_lock lock(mutex);
        EXPECT_LT(begin, end);
        EXPECT_TRUE(end == count || end - begin >= grain);
      });
    }
  }
}

TEST_P(ExecutorTest, SeesWritesOfItsBodies) {
  std::vector<int64_t> squares(1000);
  for (int64_t round = 1; round <= 200; ++round) {
    executor_->parallel_for(1000, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) squares[i] = i * round;
    });
    ASSERT_EQ(std::accumulate(squares.begin(), squares.end(), int64_t{0}),
              499500 * round);
  }
}

TEST_P(ExecutorTest, MemoryIsAlignedAndApart) {
  for (const size_t bytes :
       {size_t{0}, size_t{1}, size_t{100}, size_t{1} << 20, size_t{65}}) {
    std::byte* shared = executor_->workspace(bytes);
    std::memset(shared, 1, bytes);
    std::mutex mutex;
    executor_->parallel_for(8, 1, [&](int64_t, int64_t) {
      std::byte* own = executor_->scratch(bytes);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(own) % 64, 0U);
      std::memset(own, 2, bytes);
    });
    EXPECT_EQ(reinterpret_cast<uintptr_t>(shared) % 64, 0U);
    for (size_t i = 0; i < bytes; ++i) ASSERT_EQ(shared[i], std::byte{1});
  }
}

TEST_P(ExecutorTest, MemoryIsKeptFromCallToCall) {
  EXPECT_NE(executor_->workspace(1000), nullptr);
  EXPECT_EQ(executor_->workspace(1000), executor_->workspace(10));
  EXPECT_NE(executor_->scratch(1000), nullptr);
  EXPECT_EQ(executor_->scratch(1000), executor_->scratch(10));
}

INSTANTIATE_TEST_SUITE_P(Threads, ExecutorTest, testing::Values(0, 1, 2, 3, 8),
                         [](const auto& param) {
                           return param.param == 0
                                      ? std::string("serial")
                                      : "pool" + std::to_string(param.param);
                         });

TEST(ThreadPoolTest, UsesEveryThread) {
  ThreadPool pool(4);
  EXPECT_EQ(pool.threads(), 4);
  // No range ends before all four have begun.
  std::atomic<int> begun = 0;
  std::mutex mutex;
  std::set<std::thread::id> threads;
  pool.parallel_for(4, 1, [&](int64_t, int64_t) {
    {
      const std::scoped_lock lock(mutex);
      threads.insert(std::this_thread::get_id());
    }
    ++begun;
    while (begun < 4) std::this_thread::yield();
  });
  EXPECT_EQ(threads.size(), 4U);
  EXPECT_EQ(threads.count(std::this_thread::get_id()), 1U);
}

// A worker may wake when its job is over and the next one is being published.
TEST(ThreadPoolTest, KeepsShortJobsApart) {
  ThreadPool pool(4);
  for (int64_t job = 0; job < 20000; ++job) {
    const int64_t count = 2 + job % 7;
    std::atomic<int64_t> visited = 0;
    pool.parallel_for(
        count, 1, [&](int64_t begin, int64_t end) { visited += end - begin; });
    ASSERT_EQ(visited, count) << "job " << job;
  }
}

TEST(ThreadPoolTest, ServesSeveralCallers) {
  ThreadPool pool(3);
  std::atomic<int64_t> total = 0;
  std::vector<std::thread> callers;
  callers.reserve(4);
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        pool.parallel_for(
            100, 1, [&](int64_t begin, int64_t end) { total += end - begin; });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, 4 * 100 * 100);
}

TEST(ThreadPoolTest, RefusesToHaveNoThread) {
  EXPECT_THROW(ThreadPool(0), std::invalid_argument);
}

}  // namespace
}  // namespace quanto
