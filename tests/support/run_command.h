// Runs the real binary: arguments, environment, terminal or pipe; captures stdout, stderr and the exit status.
#pragma once
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

extern char** environ;

namespace apr::test {

struct RunOptions {
  std::vector<std::pair<std::string, std::string>> env = {};  // added to a cleaned environment
  std::string cwd = {};                                       // empty: the current folder
  std::string stdout_to = {};                                 // a path instead of a pipe ("/dev/full")
  bool close_stdout_reader = false;                           // a broken pipe from the first byte on
  bool terminal = false;  // stdout and stderr are one pseudo-terminal: all text is in `out`
  int timeout_s = 60;
  std::function<void(pid_t)> meanwhile = {};  // called once, right after the start
};

struct RunResult {
  int status = -1;  // exit status; -1 when it ended by a signal
  int signal = 0;
  bool timed_out = false;
  std::int64_t max_rss_bytes = 0;  // the most memory that it held at one time
  std::string out, err;
  [[nodiscard]] std::string all() const {
    return "status " + std::to_string(status) + " signal " + std::to_string(signal) + "\nstdout: " + out +
           "\nstderr: " + err;
  }
};

namespace run_detail {

/// The environment without what changes the output of apr, plus `extra`. A terminal type that has colours.
inline std::vector<std::string> environment(const std::vector<std::pair<std::string, std::string>>& extra) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view key = text.substr(0, text.find('='));
    if (key == "NO_COLOR" || key == "APR_ISA" || key == "TERM") continue;
    result.emplace_back(text);
  }
  for (const auto& [key, value] : extra) result.push_back(key + "=" + value);
  result.emplace_back("TERM=xterm");  // behind `extra`, which comes first where both have it
  return result;
}

inline std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

/// Reads both ends until they close or the time is over. A closed pseudo-terminal reads as EIO.
inline bool drain(int out_fd, int err_fd, RunResult& result, int timeout_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(timeout_s);
  pollfd fds[2] = {{out_fd, POLLIN, 0}, {err_fd, POLLIN, 0}};
  std::string* texts[2] = {&result.out, &result.err};
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    if (poll(fds, 2, static_cast<int>(left.count())) <= 0) continue;
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      char buffer[65536];
      const ssize_t n = read(fds[i].fd, buffer, sizeof buffer);
      if (n > 0)
        texts[i]->append(buffer, static_cast<std::size_t>(n));
      else
        fds[i].fd = -1;
    }
  }
  return true;
}

}  // namespace run_detail

/// Runs `program` with `args`. Failures of the runner itself are test failures.
inline RunResult run_command(const std::string& program, const std::vector<std::string>& args,
                             const RunOptions& options = {}) {
  RunResult result;
  int out_pipe[2] = {-1, -1};
  int err_pipe[2] = {-1, -1};
  if (options.terminal) {
    out_pipe[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    EXPECT_EQ(grantpt(out_pipe[0]) | unlockpt(out_pipe[0]), 0);
    out_pipe[1] = open(ptsname(out_pipe[0]), O_RDWR | O_NOCTTY | O_CLOEXEC);
  } else {
    EXPECT_EQ(pipe2(out_pipe, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(err_pipe, O_CLOEXEC), 0);
  }
  std::vector<std::string> argv_texts = {program};
  argv_texts.insert(argv_texts.end(), args.begin(), args.end());
  std::vector<std::string> env_texts = run_detail::environment(options.env);
  const std::vector<char*> argv = run_detail::pointers(argv_texts);
  const std::vector<char*> envp = run_detail::pointers(env_texts);
  if (options.close_stdout_reader) close(out_pipe[0]);

  const pid_t pid = fork();
  if (pid == 0) {  // only async-signal-safe calls from here on
    if (!options.cwd.empty() && chdir(options.cwd.c_str()) != 0) _exit(124);
    const int out = options.stdout_to.empty() ? out_pipe[1] : open(options.stdout_to.c_str(), O_WRONLY);
    dup2(out, STDOUT_FILENO);
    dup2(options.terminal ? out_pipe[1] : err_pipe[1], STDERR_FILENO);
    execve(argv[0], argv.data(), envp.data());
    _exit(125);
  }
  EXPECT_GT(pid, 0);
  close(out_pipe[1]);
  if (err_pipe[1] >= 0) close(err_pipe[1]);
  if (options.meanwhile) options.meanwhile(pid);
  result.timed_out =
      !run_detail::drain(options.close_stdout_reader ? -1 : out_pipe[0], err_pipe[0], result, options.timeout_s);
  if (result.timed_out) kill(pid, SIGKILL);
  int raw = 0;
  rusage used = {};
  EXPECT_EQ(wait4(pid, &raw, 0, &used), pid);
  result.max_rss_bytes = std::int64_t{used.ru_maxrss} * 1024;
  if (WIFEXITED(raw)) result.status = WEXITSTATUS(raw);
  if (WIFSIGNALED(raw)) result.signal = WTERMSIG(raw);
  if (!options.close_stdout_reader) close(out_pipe[0]);
  if (err_pipe[0] >= 0) close(err_pipe[0]);
  EXPECT_FALSE(result.timed_out) << "timed out: " << result.all();
  EXPECT_NE(result.status, 125) << "cannot execute " << program;
  return result;
}

}  // namespace apr::test
