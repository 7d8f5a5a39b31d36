// The screens in the order of the navigation. Each has a folder in `screens/`.
import type { ComponentType } from 'preact';
import { AgentsScreen } from '../screens/agents/agents-screen.tsx';
import { ConversationsScreen } from '../screens/conversations/conversations-screen.tsx';
import { DoctorScreen } from '../screens/doctor/doctor-screen.tsx';
import { FabricScreen } from '../screens/fabric/fabric-screen.tsx';
import { HealthScreen } from '../screens/health/health-screen.tsx';
import { TalkScreen } from '../screens/talk/talk-screen.tsx';
import { TeamsScreen } from '../screens/teams/teams-screen.tsx';
import { TraceScreen } from '../screens/trace/trace-screen.tsx';

interface ScreenProps {
  /** The decoded segments of the route after the screen. */
  args: readonly string[];
}

export interface Screen {
  /** First segment of its route. */
  readonly id: string;
  readonly title: string;
  /** True if the screen needs the permission Watch. Without it the shell shows an explanation. */
  readonly needsWatch: boolean;
  /** Path data of its icon, 24 by 24, drawn as lines. */
  readonly icon: string;
  readonly View: ComponentType<ScreenProps>;
}

export const SCREENS: readonly [Screen, ...Screen[]] = [
  {
    id: 'fabric',
    title: 'Fabric',
    needsWatch: true,
    icon: 'M12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6M5 3.5v3M5 17.5v3M19 3.5v3M19 17.5v3M6.5 6 10 10M14 14l3.5 4M17.5 6 14 10M10 14l-3.5 4',
    View: FabricScreen,
  },
  {
    id: 'talk',
    title: 'Talk',
    needsWatch: false,
    icon: 'M4 5h16v11H9l-5 4zM8 9h8M8 12h5',
    View: TalkScreen,
  },
  {
    id: 'conversations',
    title: 'Conversations',
    needsWatch: false,
    icon: 'M4 6h10M4 12h16M4 18h7M17 4v4M8 16v4',
    View: ConversationsScreen,
  },
  {
    id: 'trace',
    title: 'Trace',
    needsWatch: true,
    icon: 'M6 3v18M18 3v18M6 7h11M14 4l3 3-3 3M18 16H7M10 13l-3 3 3 3',
    View: TraceScreen,
  },
  {
    id: 'agents',
    title: 'Agents',
    needsWatch: false,
    icon: 'M5 8h14v11H5zM12 8V4M9 12.5v2M15 12.5v2',
    View: AgentsScreen,
  },
  {
    id: 'teams',
    title: 'Teams',
    needsWatch: false,
    icon: 'M4 4h6v5H4zM14 15h6v5h-6zM7 9v8h7',
    View: TeamsScreen,
  },
  {
    id: 'health',
    title: 'Health',
    needsWatch: true,
    icon: 'M3 12h4l3-7 4 14 3-7h4',
    View: HealthScreen,
  },
  {
    id: 'doctor',
    title: 'Doctor',
    needsWatch: true,
    icon: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M12 8v8M8 12h8',
    View: DoctorScreen,
  },
];
