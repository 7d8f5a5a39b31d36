/// <reference types="vite/client" />

interface ImportMetaEnv {
  /** Admission URL of the sentinel. */
  readonly VITE_FAME_URL?: string;
  /** Address of the agent. */
  readonly VITE_FAME_AGENT?: string;
}
