#include "parser.h"

#include <fmt/format.h>

#include "apr/core/error.h"
#include "expression_parser.h"

namespace apr::model::jinja {

namespace {

using Ends = std::initializer_list<std::string_view>;

class Parser : ExpressionParser {
 public:
  explicit Parser(Program& program) : ExpressionParser(program) {}

  void run() {
    program_.body = block({});
    if (!is(TokenType::End)) fail_here(fmt::format("unexpected '{}'", described()));
    report_unknown();
  }

 private:
  Stmt* make_stmt(StmtKind kind, std::uint32_t offset) {
    auto owned = std::make_unique<Stmt>();
    owned->kind = kind;
    owned->offset = offset;
    Stmt* stmt = owned.get();
    program_.stmts.push_back(std::move(owned));
    return stmt;
  }

  /// Text, output and statements up to a tag that starts with one of `ends`; that name is the current token then.
  Block block(Ends ends) {
    const Nested nested(*this);
    Block body;
    for (;;) {
      const Token& token = current();
      if (token.type == TokenType::Data) {
        make_stmt(StmtKind::Data, token.begin)->data = text(token);
        body.push_back(program_.stmts.back().get());
        advance();
      } else if (token.type == TokenType::VariableBegin) {
        advance();
        Stmt* stmt = make_stmt(StmtKind::Output, token.begin);
        stmt->expr = tuple();
        expect(TokenType::VariableEnd, "end of print statement");
        body.push_back(stmt);
      } else if (token.type == TokenType::BlockBegin) {
        advance();
        for (const std::string_view end : ends) {
          if (is_name(end)) return body;
        }
        statement(body, ends);
        expect(TokenType::BlockEnd, "end of statement block");
      } else {
        if (ends.size() != 0) fail_eof(ends);
        return body;
      }
    }
  }

  static std::string joined(Ends ends) {
    std::string out;
    for (const std::string_view end : ends) out += fmt::format("{}'{}'", out.empty() ? "" : " or ", end);
    return out;
  }

  [[noreturn]] void fail_eof(Ends ends) const {
    fail_here(fmt::format("Unexpected end of template. Jinja was looking for the following tags: {}.", joined(ends)));
  }

  /// The rest of an opening tag, then a block. The end name is the current token afterwards.
  Block body_until(Ends ends) {
    skip_op(":");
    expect(TokenType::BlockEnd, "end of statement block");
    return block(ends);
  }
  Block whole_body(std::string_view end) {
    Block body = body_until({end});
    advance();
    return body;
  }

  /// Inside, unknown filters are errors again, whatever stands around.
  template <class Parse>
  void hard(Parse parse) {
    const bool soft = std::exchange(soft_, false);
    parse();
    soft_ = soft;
  }

  void statement(Block& body, Ends ends) {
    if (!is(TokenType::Name)) fail_here("tag name expected");
    struct Row {
      std::string_view tag;
      const Stmt* (Parser::*parse)();
    };
    static constexpr Row kTags[] = {
        {"set", &Parser::set},       {"if", &Parser::if_block},      {"for", &Parser::for_block},
        {"macro", &Parser::macro},   {"call", &Parser::call_block},  {"filter", &Parser::filter_block},
        {"with", &Parser::with},     {"generation", &Parser::scope}, {"break", &Parser::jump},
        {"continue", &Parser::jump},
    };
    for (const Row& row : kTags) {
      if (!is_name(row.tag)) continue;
      body.push_back((this->*row.parse)());
      return;
    }
    if (is_name("print")) return print(body);
    for (const std::string_view tag : {"include", "import", "from", "extends", "block", "autoescape"}) {
      if (is_name(tag)) fail_here(fmt::format("the tag '{}' is not supported in a chat template", tag));
    }
    std::string message = fmt::format("Encountered unknown tag '{}'.", text(current()));
    if (ends.size() != 0) message += fmt::format(" Jinja was looking for the following tags: {}.", joined(ends));
    fail_here(std::move(message));
  }

  void print(Block& body) {
    advance();
    bool first = true;
    while (!is(TokenType::BlockEnd)) {
      if (!first) expect_op(",");
      first = false;
      Stmt* stmt = make_stmt(StmtKind::Output, current().begin);
      stmt->expr = expression();
      body.push_back(stmt);
    }
  }

  const Stmt* set() {
    const std::uint32_t offset = advance().begin;
    Stmt* stmt = make_stmt(StmtKind::Set, offset);
    stmt->target = target(true);
    if (skip_op("=")) {
      stmt->expr = tuple();
      return stmt;
    }
    stmt->kind = StmtKind::SetBlock;
    hard([&] {
      if (is_op("|")) stmt->expr = filters(nullptr);
      stmt->body = whole_body("endset");
    });
    return stmt;
  }

  const Stmt* if_block() {
    Stmt* stmt = make_stmt(StmtKind::If, advance().begin);
    const bool soft = std::exchange(soft_, true);
    for (bool more = true; more;) {
      Branch branch;
      branch.condition = tuple(false);
      branch.body = body_until({"elif", "else", "endif"});
      stmt->branches.push_back(std::move(branch));
      const std::string_view end = text(advance());
      more = end == "elif";
      if (end == "else") stmt->branches.push_back({nullptr, whole_body("endif")});
    }
    soft_ = soft;
    return stmt;
  }

  const Stmt* for_block() {
    Stmt* stmt = make_stmt(StmtKind::For, advance().begin);
    ++for_depth_;
    stmt->target = target(false, "in");
    if (!skip_name("in")) fail_here(fmt::format("expected token 'in', got '{}'", described()));
    stmt->expr = tuple(false, "recursive");
    hard([&] {
      if (skip_name("if")) stmt->test = expression();
      stmt->recursive = skip_name("recursive");
      ++loop_depth_;
      stmt->body = body_until({"endfor", "else"});
      --loop_depth_;
      if (text(advance()) == "else") stmt->branches.push_back({nullptr, whole_body("endfor")});
    });
    --for_depth_;
    return stmt;
  }

  void signature(Macro& macro) {
    expect_op("(");
    while (!is_op(")")) {
      if (!macro.parameters.empty()) expect_op(",");
      macro.parameters.push_back(expect_name());
      if (skip_op("=")) {
        macro.defaults.push_back(expression());
      } else if (!macro.defaults.empty()) {
        fail_here("non-default argument follows default argument");
      }
    }
    expect_op(")");
  }

  /// A body that is a function of its own: no break leaves it.
  void function_body(Macro& macro, std::string_view end) {
    const unsigned loops = std::exchange(loop_depth_, 0);
    open_macros_.push_back(&macro);
    hard([&] { macro.body = whole_body(end); });
    open_macros_.pop_back();
    loop_depth_ = loops;
  }

  const Stmt* macro() {
    Stmt* stmt = make_stmt(StmtKind::MacroDef, advance().begin);
    stmt->macro = std::make_unique<Macro>();
    stmt->macro->name = expect_name();
    hard([&] { signature(*stmt->macro); });
    function_body(*stmt->macro, "endmacro");
    return stmt;
  }

  const Stmt* call_block() {
    Stmt* stmt = make_stmt(StmtKind::CallBlock, advance().begin);
    stmt->macro = std::make_unique<Macro>();
    if (is_op("(")) hard([&] { signature(*stmt->macro); });
    stmt->expr = expression();
    if (stmt->expr->kind != ExprKind::Call) syntax_error(program_, stmt->offset, "expected call");
    function_body(*stmt->macro, "endcall");
    return stmt;
  }

  const Stmt* filter_block() {
    Stmt* stmt = make_stmt(StmtKind::FilterBlock, advance().begin);
    hard([&] {
      stmt->expr = filters(nullptr, true);
      stmt->body = whole_body("endfilter");
    });
    return stmt;
  }

  const Stmt* with() {
    Stmt* stmt = make_stmt(StmtKind::With, advance().begin);
    while (!is(TokenType::BlockEnd)) {
      if (!stmt->targets.empty()) expect_op(",");
      stmt->targets.push_back(target(false));
      expect_op("=");
      stmt->branches.push_back({expression(), {}});
    }
    hard([&] { stmt->body = whole_body("endwith"); });
    return stmt;
  }

  /// {% generation %}, with which training code marks the assistant's part: its body, in a scope of its own.
  const Stmt* scope() {
    Stmt* stmt = make_stmt(StmtKind::Scope, advance().begin);
    const unsigned loops = std::exchange(loop_depth_, 0);
    hard([&] { stmt->body = whole_body("endgeneration"); });
    loop_depth_ = loops;
    return stmt;
  }

  const Stmt* jump() {
    const Token& token = advance();
    if (loop_depth_ == 0) syntax_error(program_, token.begin, fmt::format("'{}' outside of a loop", text(token)));
    return make_stmt(text(token) == "break" ? StmtKind::Break : StmtKind::Continue, token.begin);
  }

  unsigned loop_depth_ = 0;  // loops that a break could leave
};

}  // namespace

std::shared_ptr<const Program> parse_program(std::string_view source, std::string_view name) {
  if (source.size() > ChatTemplate::kMaxSourceBytes) {
    throw Error(ErrorCode::InvalidFormat, "the chat template is too long")
        .in(std::string(name))
        .want(fmt::format("at most {} bytes", ChatTemplate::kMaxSourceBytes))
        .got(fmt::format("{} bytes", source.size()));
  }
  auto program = std::make_shared<Program>();
  program->name = name;
  program->source = normalised(source);
  Parser(*program).run();
  return program;
}

}  // namespace apr::model::jinja
