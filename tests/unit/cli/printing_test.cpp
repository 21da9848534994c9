// Progress, tables and JSON numbers, without a process around them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "src/cli/findings_text.h"
#include "src/cli/json_document.h"
#include "src/cli/progress.h"
#include "src/cli/table.h"

namespace apr::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

/// A clock that the test moves and a terminal that it reads.
struct FakeTerminal {
  double now = 100;
  std::string text;
  Progress::Clock clock(bool is_terminal = true) {
    return {[this] { return now; }, [this](std::string_view piece) { text += piece; }, is_terminal};
  }
};

TEST(Progress, SaysShareRateAndTimeLeftAfterASecond) {
  FakeTerminal terminal;
  {
    Progress progress({}, "work", Progress::Unit::Bytes, terminal.clock());
    terminal.now += 0.9;
    progress.callback()(1 << 20, 8 << 20);
    EXPECT_EQ(terminal.text, "") << "too early";
    terminal.now += 1.1;  // 2 MiB in 2 s, 6 MiB are left
    progress.callback()(2 << 20, 8 << 20);
    EXPECT_THAT(terminal.text, HasSubstr("work   25% ["));
    EXPECT_THAT(terminal.text, HasSubstr("1.00 MiB/s"));
    EXPECT_THAT(terminal.text, HasSubstr("ETA 6 s"));
    const std::string drawn = terminal.text;
    terminal.now += 0.01;
    progress.update(3 << 20, 8 << 20);
    EXPECT_EQ(terminal.text, drawn) << "not on every call";
    terminal.now += 1;
    progress.update(3 << 20, 0);
    EXPECT_THAT(terminal.text.substr(drawn.size()), Not(HasSubstr("ETA"))) << "the total is unknown";
  }
  EXPECT_TRUE(terminal.text.ends_with("\r\033[K")) << "the line is wiped at the end";
}

TEST(Progress, IsSilentOffTerminalsWhenQuietAndForShortWork) {
  FakeTerminal pipe;
  FakeTerminal quiet;
  FakeTerminal quick;
  Context quiet_context;
  quiet_context.globals.quiet = true;
  {
    Progress a({}, "a", Progress::Unit::Items, pipe.clock(false));
    Progress b(quiet_context, "b", Progress::Unit::Items, quiet.clock());
    Progress c({}, "c", Progress::Unit::Items, quick.clock());
    pipe.now = quiet.now = 200;
    a.update(1, 2);
    b.update(1, 2);
    c.update(1, 2);
  }
  EXPECT_EQ(pipe.text + quiet.text + quick.text, "");
}

TEST(Table, AlignsByDisplayWidth) {
  Table table({{"name"}, {"n", Align::Right}, {""}, {"text"}});
  table.add({{"é"}, {"7"}, {""}, {"x"}});
  table.add({{"漢字abc"}, {"1,234"}, {""}, {""}});
  std::string out;
  table.append_to(out, Style(false));
  EXPECT_EQ(out,
            "  name         n  text\n"
            "  é            7  x\n"
            "  漢字abc  1,234\n");
}

TEST(Table, ALongCellPushesOnlyItsOwnRow) {
  Table table({{"", Align::Left, 4}, {""}});
  table.add({{"abcdefgh"}, {"x"}});
  table.add({{"ab"}, {"y"}});
  std::string out;
  table.append_to(out, Style(false));
  EXPECT_EQ(out, "  abcdefgh  x\n  ab    y\n");
}

TEST(Json, NumbersThatAreNotFiniteBecomeNullWithAReason) {
  Json object;
  put_number(object, "a", 1.5);
  put_number(object, "b", std::nan(""));
  put_number(object, "c", -INFINITY);
  EXPECT_EQ(object.dump(), R"({"a":1.5,"b":null,"b_reason":"nan","c":null,"c_reason":"-inf"})");
}

TEST(Findings, OfOneRuleTheFirstThreeAndACount) {
  std::vector<Finding> findings;
  for (int i = 0; i < 5; ++i) {
    Finding& f = findings.emplace_back();
    f.rule = "many";
    f.message = "number " + std::to_string(i);
    f.offset = 16U * static_cast<unsigned>(i);
    f.file = "shard-" + std::to_string(i / 4);
  }
  Finding general;
  general.rule = "many";
  general.message = "7 more";
  general.file = "shard-1";
  findings.push_back(general);
  Finding warning;
  warning.rule = "once";
  warning.severity = Severity::Warning;
  warning.message = "odd\033";
  warning.offset = 7;
  warning.file = "shard-1";
  findings.push_back(warning);
  std::string out;
  append_findings(out, Style(false), findings);
  EXPECT_THAT(out, HasSubstr("FINDINGS  6 errors, 1 warning\n"));
  EXPECT_THAT(out, HasSubstr("  error    0x00000020  number 2\n"));
  EXPECT_THAT(out, HasSubstr("file     shard-0\n")) << "named where there are several";
  EXPECT_THAT(out, Not(HasSubstr("number 3")));
  EXPECT_THAT(out, HasSubstr("7 more\n")) << "what is said of all is kept";
  EXPECT_THAT(out, HasSubstr("  warning  0x00000007  odd\\e\n"));
  EXPECT_THAT(out, HasSubstr("  of many: --json lists 6"));
  std::string none;
  append_findings(none, Style(false), {});
  EXPECT_EQ(none, "");
}

TEST(Json, StatusIsTheWorstFinding) {
  std::vector<Finding> findings;
  EXPECT_EQ(status_of(findings), "ok");
  findings.emplace_back().severity = Severity::Info;
  EXPECT_EQ(status_of(findings), "ok");
  findings.emplace_back().severity = Severity::Warning;
  EXPECT_EQ(status_of(findings), "warning");
  findings.emplace_back().severity = Severity::Error;
  findings.emplace_back().severity = Severity::Info;
  EXPECT_EQ(status_of(findings), "error");
}

}  // namespace
}  // namespace apr::cli
