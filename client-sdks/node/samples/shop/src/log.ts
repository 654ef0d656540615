/** One line of the log. It never holds what was sent. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
