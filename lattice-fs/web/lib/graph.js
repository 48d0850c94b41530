// Where the versions of a key stand in the drawing of its history: one row each, newest first, and a lane so that the line
// from a version to its parent crosses no other version. Pure.

/** `[{id, parents}]`, newest first, to `{rows: [{id, lane}], edges: [{from, to, lane}], lanes}`; rows by index. */
export function layout(versions) {
  const rowOf = new Map(versions.map((v, row) => [v.id, row]));
  // What each lane waits for: the id of the version that its line leads to.
  const lanes = [];
  const rows = [];
  const edges = [];
  let most = 0;
  const free = () => {
    const at = lanes.indexOf(null);
    return at === -1 ? lanes.length : at;
  };
  versions.forEach((version, row) => {
    const waiting = lanes.findIndex((edge) => edge?.parent === version.id);
    const lane = waiting === -1 ? free() : waiting;
    lanes.forEach((edge, at) => {
      if (edge?.parent !== version.id) return;
      edges.push({ from: edge.from, to: row, lane: at });
      lanes[at] = null;
    });
    if (lane === lanes.length) lanes.push(null);
    rows.push({ id: version.id, lane });
    const parents = version.parents.filter((id) => rowOf.get(id) > row);
    parents.forEach((parent, i) => {
      lanes[i === 0 ? lane : free()] = { parent, from: row };
    });
    most = Math.max(most, lanes.length);
    while (lanes.length > 0 && lanes[lanes.length - 1] === null) lanes.pop();
  });
  return { rows, edges, lanes: Math.max(1, most) };
}
