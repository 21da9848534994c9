// The conventions of docs/cli.md, each by running the real binary.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "apr/core/error.h"
#include "apr/kernels/dispatch.h"
#include "src/cli/commands.h"
#include "src/cli/style.h"
#include "tests/unit/cli/apr_command.h"

namespace apr::test {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// One refused command line: what stderr must say, in text; what the JSON error must say, in JSON.
void expect_refused(const std::vector<std::string>& args, ErrorCode code, const std::string& says) {
  SCOPED_TRACE(testing::PrintToString(args));
  const RunResult text = apr_command(args);
  EXPECT_EQ(text.status, exit_status(code)) << text.all();
  EXPECT_EQ(text.out, "");
  EXPECT_THAT(text.err, HasSubstr(says));
  const auto document = apr_json(args, exit_status(code));
  EXPECT_EQ(document.value("schema", ""), "apr.error/1");
  EXPECT_EQ(document.value("status", ""), "error");
  ASSERT_TRUE(document.contains("error"));
  for (const char* member : {"code", "message", "file", "offset", "field", "expected", "found", "hint"})
    EXPECT_TRUE(document["error"].contains(member)) << member;
  EXPECT_EQ(document["error"].value("code", ""), name(code));
  EXPECT_THAT(document["error"].dump(), HasSubstr(says));
}

TEST(Conventions, EveryCommandHasHelpWithExamplesAndIsListed) {
  const RunResult help = apr_command({"--help"});
  EXPECT_EQ(help.status, 0);
  ASSERT_FALSE(cli::commands().empty());
  for (const cli::Command& command : cli::commands()) {
    SCOPED_TRACE(command.name);
    EXPECT_THAT(help.out, HasSubstr("  " + std::string(command.name) + " "));
    EXPECT_THAT(help.out, HasSubstr(std::string(command.group) + "\n"));
    EXPECT_THAT(help.out, HasSubstr(std::string(command.summary)));
    const RunResult own = apr_command({std::string(command.name), "--help"});
    EXPECT_EQ(own.status, 0);
    EXPECT_EQ(own.err, "");
    const std::size_t examples = own.out.find("Examples\n");
    ASSERT_NE(examples, std::string::npos) << own.out;
    EXPECT_THAT(own.out.substr(examples), HasSubstr("apr " + std::string(command.name) + " "));
    EXPECT_EQ(apr_command({std::string(command.name), "-h"}).out, own.out);
  }
}

TEST(Conventions, HelpNamesEveryExitStatus) {
  const std::string help = apr_command({"--help"}).out;
  for (const char* line :
       {"    0  ok", "    1  internal", "    2  the command line", "    3  file not found", "    4  the bytes break",
        "    5  a check failed", "    6  a sound file", "    7  reading or", "    8  running",
        "    9  not in this build", "   10  a transfer", "  130  interrupted"})
    EXPECT_THAT(help, HasSubstr(line));
}

TEST(Conventions, HelpFitsAHundredColumns) {
  std::vector<std::vector<std::string>> calls = {{"--help"}};
  for (const cli::Command& command : cli::commands()) calls.push_back({std::string(command.name), "--help"});
  for (const auto& call : calls) {
    const std::string help = apr_command(call).out;
    std::istringstream lines(help.substr(0, help.find("\nExamples\n")));  // a command to copy is one line
    for (std::string line; std::getline(lines, line);) EXPECT_LE(cli::display_width(line), 100U) << line;
  }
}

TEST(Conventions, HelpAsJson) {
  const auto document = apr_json({"--help"}, 0);
  EXPECT_EQ(document["schema"], "apr.help/1");
  EXPECT_EQ(document["commands"].size(), cli::commands().size());
  EXPECT_EQ(document["exit_status"]["interrupted"], 130);
}

TEST(Conventions, NoCommandShowsTheHelpAndFails) {
  const RunResult result = apr_command({});
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("Usage"));
  EXPECT_EQ(apr_json({}, 2)["error"]["message"], "no command");
}

TEST(Conventions, UnknownWordsAreRefusedWithTheNearest) {
  const SmallModels m;
  expect_refused({"hxe", m.gguf}, ErrorCode::Usage, "did you mean hex?");
  expect_refused({"hex", m.gguf, "--heder"}, ErrorCode::Usage, "did you mean --header?");
  expect_refused({"hex", "--lst", m.gguf}, ErrorCode::Usage, "did you mean --list?");
  expect_refused({"--thread", "2", "hex", m.gguf}, ErrorCode::Usage, "did you mean --threads?");
  expect_refused({"hex", m.gguf, "--color", "alway"}, ErrorCode::Usage, "did you mean always?");
  expect_refused({"hex", m.gguf, "--isa", "scalr"}, ErrorCode::Usage, "did you mean scalar?");
  expect_refused({"hex", m.gguf, "-x"}, ErrorCode::Usage, "unknown option -x");
  expect_refused({"hex", m.gguf, "--zzzzzzzz=1"}, ErrorCode::Usage, "unknown option --zzzzzzzz");
}

TEST(Conventions, MissingAndSurplusArgumentsAreRefused) {
  const SmallModels m;
  expect_refused({"hex"}, ErrorCode::Usage, "FILE is required");
  expect_refused({"hex", m.gguf, "second"}, ErrorCode::Usage, "unexpected argument");
  expect_refused({"hex", m.gguf, "--tensor", "--list"}, ErrorCode::Usage, "--tensor takes exactly one value");
  expect_refused({"hex", m.gguf, "--threads", "--list"}, ErrorCode::Usage, "--threads takes exactly one value");
  expect_refused({"hex", m.gguf, "--tensor"}, ErrorCode::Usage, "--tensor takes exactly one value");
  expect_refused({"hex", m.gguf, "--raw", "--width", "3", "--width", "4"}, ErrorCode::Usage,
                 "--width takes exactly one");
}

TEST(Conventions, NumbersOutOfRangeAreRefused) {
  const SmallModels m;
  for (const char* bad : {"0", "1025", "-1", "two", "1.5", "", "18446744073709551616", "0x"})
    expect_refused({"hex", m.gguf, "--threads", bad}, ErrorCode::Usage, "--threads");
  EXPECT_EQ(apr_command({"hex", m.gguf, "--threads", "1024"}).status, 0);
}

TEST(Conventions, GlobalFlagsStandBeforeOrAfterTheCommand) {
  const SmallModels m;
  const RunResult before = apr_command({"--json", "--threads", "1", "hex", m.gguf, "--list"});
  const RunResult after = apr_command({"hex", m.gguf, "--list", "--threads", "1", "--json"});
  EXPECT_EQ(before.status, 0) << before.all();
  EXPECT_EQ(before.out, after.out);
  EXPECT_THAT(before.out, StartsWith("{"));
}

TEST(Conventions, QuietDropsHintsAndVerboseLogs) {
  const SmallModels m;
  EXPECT_THAT(apr_command({"hexx"}).err, HasSubstr("hint"));
  EXPECT_THAT(apr_command({"hexx", "-q"}).err, Not(HasSubstr("hint")));
  EXPECT_EQ(apr_command({"hex", m.gguf}).err, "");
  EXPECT_THAT(apr_command({"hex", m.gguf, "-v"}).err, HasSubstr("2 tensors"));
  expect_refused({"hex", m.gguf, "-v", "--quiet"}, ErrorCode::Usage, "excludes");
}

// ---- exit status ----------------------------------------------------------------------------------------------------

TEST(ExitStatus, NotFound) {
  const TempFolder folder;
  expect_refused({"hex", folder.path("nope.gguf")}, ErrorCode::NotFound, "nope.gguf");
  expect_refused({"hex", "--raw", folder.path()}, ErrorCode::NotFound, folder.path());
  expect_refused({"hex", "/dev/null"}, ErrorCode::NotFound, "/dev/null");
}

TEST(ExitStatus, InvalidFormatNamesOffsetAndRule) {
  const TempFolder folder;
  const std::string page = folder.write("model.gguf", "<!DOCTYPE html><html><body>404</body></html>");
  expect_refused({"hex", page}, ErrorCode::InvalidFormat, "HTML");
  const auto document = apr_json({"hex", page}, 4);
  EXPECT_EQ(document["error"]["offset"], 0);
  EXPECT_EQ(document["file"]["path"], page);
  EXPECT_EQ(document["file"]["size_bytes"], 44);
  EXPECT_TRUE(document["file"]["format"].is_null());
  EXPECT_THAT(document["error"]["hint"].get<std::string>(), HasSubstr("--raw"));
  expect_refused({"hex", folder.write("empty.gguf", "")}, ErrorCode::InvalidFormat, "empty");
}

TEST(ExitStatus, ValidationFailed) {
  const SmallModels m;
  expect_refused({"hex", m.gguf, "--tensor", "blk.0.attn_k.weight"}, ErrorCode::ValidationFailed,
                 "nearest: blk.0.attn_q.weight");
  expect_refused({"hex", m.gguf, "--verify"}, ErrorCode::ValidationFailed, "nothing to verify");
}

TEST(ExitStatus, FailedWriteToStdoutIsIo) {
  const SmallModels m;
  for (const bool json : {false, true}) {
    std::vector<std::string> args = {"hex", m.gguf, "--list"};
    if (json) args.push_back("--json");
    const RunResult full = apr_command(args, {.stdout_to = "/dev/full"});
    EXPECT_EQ(full.status, 7) << full.all();
    EXPECT_THAT(full.err, HasSubstr("No space left"));
    const RunResult broken = apr_command(args, {.close_stdout_reader = true});
    EXPECT_EQ(broken.status, 7) << broken.all();
    EXPECT_THAT(broken.err, HasSubstr("Broken pipe"));
  }
  EXPECT_EQ(apr_command({"--version"}, {.stdout_to = "/dev/full"}).status, 7);
  EXPECT_EQ(apr_command({"--help"}, {.stdout_to = "/dev/full"}).status, 7);
}

TEST(ExitStatus, InterruptedLeavesNothingBehind) {
  const TempFolder folder;
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto stop = [signal](pid_t pid) {
      usleep(300'000);
      kill(pid, signal);
    };
    const RunResult result = apr_command({"synth", folder.path("big.gguf"), "--preset", "qwen2.5-7b", "--threads", "1"},
                                         {.meanwhile = stop});
    EXPECT_EQ(result.status, 130) << result.all();
    EXPECT_THAT(result.err, HasSubstr("interrupted"));
    EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "a file was left behind";
  }
}

// ---- version and instruction set ------------------------------------------------------------------------------------

TEST(Version, SaysWhatWasBuiltAndWhatRuns) {
  const auto document = apr_json({"--version"}, 0);
  EXPECT_EQ(document["schema"], "apr.version/1");
  for (const char* member : {"commit", "compiler", "build_type", "isa_used", "isa", "cuda_built", "cpu"})
    EXPECT_TRUE(document.contains(member)) << member;
  EXPECT_EQ(document["isa"].size(), kernels::isa_variants().size());
  const std::string text = apr_command({"--version"}).out;
  for (const char* member : {"commit", "compiler", "isa_used", "version"})
    EXPECT_THAT(text, HasSubstr(document[member].get<std::string>()));
  EXPECT_THAT(text, HasSubstr(document["cuda_built"].get<bool>() ? "built" : "not built"));
  EXPECT_EQ(apr_command({"hex", "--version"}).status, 0) << "global flags may follow the command";
}

TEST(Version, IsaIsForcedByFlagAndEnvironmentAndTheFlagWins) {
  std::string best;
  std::size_t n_refused = 0;
  for (const kernels::IsaVariant& variant : kernels::isa_variants()) {
    const std::string isa(variant.name);
    if (!variant.runs_here) {
      expect_refused({"--version", "--isa", isa}, ErrorCode::Unsupported, isa);
      ++n_refused;
      continue;
    }
    best = isa;
    EXPECT_EQ(apr_json({"--version", "--isa", isa}, 0)["isa_used"], isa);
    EXPECT_EQ(apr_json({"--version"}, 0, {.env = {{"APR_ISA", isa}}})["isa_used"], isa);
    EXPECT_EQ(apr_json({"--version", "--isa", isa}, 0, {.env = {{"APR_ISA", "scalar"}}})["isa_used"], isa);
    EXPECT_EQ(apr_json({"--version", "--isa", "scalar"}, 0, {.env = {{"APR_ISA", isa}}})["isa_used"], "scalar");
  }
  EXPECT_EQ(apr_json({"--version"}, 0)["isa_used"], best) << "unforced: the most capable that runs here";
  EXPECT_EQ(apr_json({"--version"}, 0, {.env = {{"APR_ISA", ""}}})["isa_used"], best);
  RecordProperty("variants_refused_on_this_machine", static_cast<int>(n_refused));
  const auto error = apr_json({"--version"}, 2, {.env = {{"APR_ISA", "avx22"}}})["error"];
  EXPECT_EQ(error["field"], "APR_ISA");
  EXPECT_THAT(error["hint"].get<std::string>(), HasSubstr("did you mean"));
}

// ---- colour ---------------------------------------------------------------------------------------------------------

bool coloured(const RunResult& result) { return (result.out + result.err).find('\033') != std::string::npos; }

TEST(Colour, FollowsTerminalNoColorAndFlag) {
  const SmallModels m;
  const std::vector<std::string> args = {"hex", m.gguf};
  const auto with = [&](std::string colour) {
    return std::vector<std::string>{"hex", m.gguf, "--color", std::move(colour)};
  };
  EXPECT_FALSE(coloured(apr_command(args))) << "a pipe";
  EXPECT_TRUE(coloured(apr_command(args, {.terminal = true})));
  EXPECT_FALSE(coloured(apr_command(args, {.env = {{"NO_COLOR", "1"}}, .terminal = true})));
  EXPECT_TRUE(coloured(apr_command(args, {.env = {{"NO_COLOR", ""}}, .terminal = true}))) << "empty means unset";
  EXPECT_FALSE(coloured(apr_command(args, {.env = {{"TERM", "dumb"}}, .terminal = true})));
  EXPECT_TRUE(coloured(apr_command(with("always"))));
  EXPECT_TRUE(coloured(apr_command(with("always"), {.env = {{"NO_COLOR", "1"}}}))) << "the flag wins";
  EXPECT_FALSE(coloured(apr_command(with("never"), {.terminal = true})));
  EXPECT_TRUE(coloured(apr_command({"hexx", "--color=always"}))) << "even a refused command line";
  EXPECT_FALSE(coloured(apr_command({"hex", m.gguf, "--json", "--color", "always"}))) << "JSON is never coloured";
}

TEST(Colour, ChangesNothingButColours) {
  const SmallModels m;
  const std::string plain = apr_command({"hex", m.gguf, "--color", "never"}).out;
  std::string stripped;
  const std::string coloured_text = apr_command({"hex", m.gguf, "--color", "always"}).out;
  for (std::size_t i = 0; i < coloured_text.size(); ++i) {
    if (coloured_text[i] == '\033')
      i = coloured_text.find('m', i);
    else
      stripped += coloured_text[i];
  }
  EXPECT_EQ(stripped, plain);
}

}  // namespace
}  // namespace apr::test
