// SPDX-License-Identifier: Apache-2.0
#include "quanto/io/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "quanto/io/test_folder.h"

namespace quanto::io {
namespace {

size_t files_in(const std::string& folder) {
  const std::filesystem::directory_iterator files(folder);
  return static_cast<size_t>(std::distance(begin(files), end(files)));
}

TEST(AtomicFileTest, AppearsAtCommit) {
  const TestFolder folder;
  const std::string target = write_text(folder / "a", "old");
  auto file = AtomicFile::create(target, 5);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file.value().write(3, bytes_of("lo")).ok());
  ASSERT_TRUE(file.value().write(0, bytes_of("hel")).ok());
  EXPECT_EQ(read_text(target), "old");
  ASSERT_TRUE(file.value().commit().ok());
  EXPECT_EQ(read_text(target), "hello");
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(AtomicFileTest, LeavesNothingWithoutCommit) {
  const TestFolder folder;
  {
    auto file = AtomicFile::create(folder / "a", 1);
    ASSERT_TRUE(file.ok());
    EXPECT_EQ(files_in(folder.path()), 1);
  }
  EXPECT_EQ(files_in(folder.path()), 0);
}

TEST(AtomicFileTest, TakesOverWhatAKilledProcessLeft) {
  const TestFolder folder;
  write_text(folder / ".a.quanto-tmp", "a long rest of an older run");
  ASSERT_TRUE(write_file(folder / "a", "new").ok());
  EXPECT_EQ(read_text(folder / "a"), "new");
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(AtomicFileTest, LetsOneWriteAtATime) {
  const TestFolder folder;
  auto first = AtomicFile::create(folder / "a", 1);
  ASSERT_TRUE(first.ok());
  const auto second = AtomicFile::create(folder / "a", 1);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().message,
            "expected one process to write it, got another");
  ASSERT_TRUE(first.value().write(0, bytes_of("x")).ok());
  ASSERT_TRUE(first.value().commit().ok());
  EXPECT_EQ(read_text(folder / "a"), "x");
}

TEST(AtomicFileTest, HasTheRightsOfANewFile) {
  const TestFolder folder;
  const mode_t old = ::umask(027);
  ASSERT_TRUE(write_file(folder / "a", "x").ok());
  ::umask(old);
  const auto rights = std::filesystem::status(folder / "a").permissions();
  EXPECT_EQ(static_cast<int>(rights), 0640);
}

TEST(AtomicFileTest, SaysWhatIsInTheWay) {
  const TestFolder folder;
  EXPECT_FALSE(AtomicFile::create(folder.path(), 1).ok());
  EXPECT_FALSE(AtomicFile::create(folder / "none/a", 1).ok());
  // No file system has room for this.
  const auto large = AtomicFile::create(folder / "a", uint64_t{1} << 62);
  ASSERT_FALSE(large.ok());
  EXPECT_NE(large.error().message.find("expected room for"), std::string::npos);
  EXPECT_EQ(files_in(folder.path()), 0);
}

TEST(AtomicFileTest, IsRemovedByASignal) {
  const TestFolder folder;
  const pid_t child = ::fork();
  if (child == 0) {
    remove_temporaries_on_signals();
    const auto file = AtomicFile::create(folder / "a", 1);
    ::raise(SIGINT);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
  EXPECT_EQ(files_in(folder.path()), 0);
}

}  // namespace
}  // namespace quanto::io
