// Outbound HTTP on request of a stranger: the shape; the guard follows.
export interface SafeFetchRequest {
  method?: string;
  headers?: Record<string, string>;
  body?: string;
  signal?: AbortSignal;
}
export interface SafeFetchResponse {
  status: number;
  body: string;
}
/** Fetches a URL that a stranger gave. */
export type SafeFetch = (url: string, request?: SafeFetchRequest) => Promise<SafeFetchResponse>;
