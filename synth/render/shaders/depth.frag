#version 430
#include "geometry.glsl"
// Depth in metres along the optical axis, 0 where nothing is, and the mesh's number + 1 and instance.
uniform sampler2D hits;
uniform vec2 focal;
uniform vec2 centre;
layout(std430, binding = 2) readonly buffer Meshes { ivec4 meshes[]; };  // instance, mip levels, first of them, gloss's bits
layout(location = 0) out float depth;
layout(location = 1) out uvec2 ids;

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    int hit = int(texelFetch(hits, pixel, 0).x);
    depth = 0.0;
    ids = uvec2(0u);
    if (hit < 0) return;
    ivec4 triangle = triangles[hit];
    depth = meet(triangle, (vec2(pixel) - centre) / focal).w;
    ids = uvec2(triangle.w + 1, meshes[triangle.w].x);
}
