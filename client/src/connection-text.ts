/** What a person is told when the connection to the sentinel is lost, and when it is there again. */
export const connectionText = (isThere: boolean): string =>
  isThere ? 'Connected again.' : 'Reconnecting...';
