// The routes about nodes: the list, its stream of changes, and the actions of an administrator.
import { type ClientAddresses, FabricError, refusalBody, tableCode } from '@fame-fabric/shared/router';
import type { Granted } from '../access/access.ts';
import type { Guard } from '../access/guard.ts';
import {
  NODE_ACTIONS,
  type NodeActionName,
  NodeActions,
  type NodeActionsDeps,
} from '../session/node-actions.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { FastifyInstance, FastifyReply, FastifyRequest } from './fastify.ts';
import { LineStreams, type LineStreamsDeps } from './line-streams.ts';
import { MemberFeed } from './member-feed.ts';
import { NodeFeed, type NodeFeedDeps } from './node-feed.ts';
import { NodeViews, type NodeViewsDeps } from './node-views.ts';

export const NODES_PATH = '/fame/v1/nodes';
const KEEP_ALIVE_MS = 15_000;
const MAX_READERS = 32;
/** A path of a node has at most 4,096 bytes. */
const MAX_BODY_BYTES = 5_120;

export interface NodesRoutesDeps
  extends NodeViewsDeps,
    Omit<NodeFeedDeps, 'views'>,
    LineStreamsDeps,
    NodeActionsDeps {
  clients: ClientAddresses;
  guard: Guard;
  table: SessionTable;
  calls: NodeViewsDeps['calls'];
  bindings: NodeViewsDeps['bindings'];
}

/** `callerOf` returns the caller of a request that was admitted. */
export function nodesRoutes(
  app: FastifyInstance,
  deps: NodesRoutesDeps,
  callerOf: (request: FastifyRequest) => Granted,
): void {
  const { clients, clock, cluster } = deps;
  const views = new NodeViews(deps);
  const feed = new NodeFeed({ ...deps, views });
  const memberFeed = cluster && new MemberFeed({ cluster, clock });
  const actions = new NodeActions(deps);
  const streams = new LineStreams(deps, {
    page: 'nodes',
    maxReaders: MAX_READERS,
    keepAliveMs: KEEP_ALIVE_MS,
  });

  app.get<{ Querystring: { follow?: string; scope?: string } }>(NODES_PATH, async (request, reply) => {
    const { follow, scope } = request.query;
    if (follow !== 'true' || request.method === 'HEAD')
      return scope === 'cluster' ? views.listCluster() : views.list();
    return streams.open({ request, reply, caller: callerOf(request) }, (stream) => {
      const ends = [feed.follow(stream)];
      if (scope === 'cluster' && memberFeed !== undefined) ends.push(memberFeed.follow(stream));
      return () => {
        for (const end of ends) end();
      };
    });
  });

  /** Runs an action on the node that the body names, at this sentinel or at another one of its cluster. */
  const onNode = (name: NodeActionName): void => {
    const url = `${NODES_PATH}/${name.toLowerCase()}`;
    app.post(url, { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
      const path = pathIn(request.body);
      if (path === undefined) return refuse(reply, 400, INVALID_BODY);
      const { principal } = callerOf(request);
      const action = { name, path, principal: principal.id, remote: clients.of(request) };
      const outcome = actions.run(action) ?? (await cluster?.act(action)) ?? 'no node';
      if (outcome === 'no node') {
        const message = `No node is attached at ${path.slice(0, 120)}. \`npx fame-fabric ps\` lists the paths.`;
        return refuse(reply, 404, new FabricError('NO_ROUTE', message));
      }
      return outcome === 'no answer' ? refuse(reply, 504, NO_ANSWER) : reply.code(202).send(outcome);
    });
  };
  for (const name of NODE_ACTIONS) onNode(name);
}

function pathIn(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const { path } = body as { path?: unknown };
  return typeof path === 'string' && path.startsWith('/') ? path : undefined;
}

const INVALID_BODY = new FabricError('REQUEST_INVALID', 'The body must be {"path": "/SENTINEL/NODE"}');

const NO_ANSWER = new FabricError(
  'CALL_TIMEOUT',
  'The sentinel of this node did not answer in time. The action may have run: check the node before you repeat it',
);

const refuse = (reply: FastifyReply, status: number, { code, message }: FabricError): FastifyReply =>
  reply.code(status).send(refusalBody(tableCode(code), message));
