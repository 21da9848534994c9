#include "src/cli/app.h"

int main(int argc, char** argv) { return apr::cli::run_main(argc, argv); }
