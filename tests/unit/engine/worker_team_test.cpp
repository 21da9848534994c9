// Where the threads of a team run.
#include "src/engine/fast/worker_team.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstddef>
#include <vector>

namespace apr::engine {
namespace {

std::vector<std::size_t> allowed() {
  cpu_set_t mask;
  std::vector<std::size_t> cpus;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return cpus;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &mask)) cpus.push_back(cpu);
  return cpus;
}

std::vector<std::vector<std::size_t>> masks_of(WorkerTeam& team) {
  std::vector<std::vector<std::size_t>> masks(team.size());
  for (int run = 0; run < 3; ++run) team.run([&](unsigned thread) { masks[thread] = allowed(); });
  return masks;
}

TEST(WorkerTeam, ATeamThatFillsTheCpusHasAThreadOnEach) {
  const auto before = allowed();
  ASSERT_FALSE(before.empty());
  WorkerTeam team(static_cast<unsigned>(before.size()));
  std::vector<std::size_t> used;
  for (const auto& mask : masks_of(team)) used.insert(used.end(), mask.begin(), mask.end());
  EXPECT_EQ(used, before) << "one each, in order";
  EXPECT_EQ(allowed(), before) << "the caller is not released";
}

TEST(WorkerTeam, ATeamOfAnotherSizeIsLeftToTheSystem) {
  const auto before = allowed();
  for (const std::size_t n : {before.size() - 1, before.size() + 1}) {
    if (n == 0) continue;
    WorkerTeam team(static_cast<unsigned>(n));
    for (const auto& mask : masks_of(team)) EXPECT_EQ(mask, before) << n;
  }
}

TEST(WorkerTeam, ACallerThatWasMovedStaysWhereItIs) {
  const auto before = allowed();
  WorkerTeam team(static_cast<unsigned>(before.size()));
  cpu_set_t one, all;
  CPU_ZERO(&one);
  CPU_SET(before.back(), &one);
  CPU_ZERO(&all);
  for (const std::size_t cpu : before) CPU_SET(cpu, &all);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const auto caller = masks_of(team)[0], after = allowed();
  ASSERT_EQ(sched_setaffinity(0, sizeof all, &all), 0);
  EXPECT_EQ(caller, std::vector{before.back()});
  EXPECT_EQ(after, std::vector{before.back()});
}

}  // namespace
}  // namespace apr::engine
