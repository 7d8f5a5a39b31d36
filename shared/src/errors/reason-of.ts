/** The reason for an error of reading a file, in plain words. The system's message would repeat the path, which may be a key by mistake. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined) return message;
  return { ENOENT: 'there is no such file', EISDIR: 'it is a directory' }[code] ?? code;
}
