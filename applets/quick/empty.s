// The compiler takes a function without a body, as those that are linked by
// name, only in a package with a file of assembly.
