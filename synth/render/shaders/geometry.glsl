layout(std430, binding = 0) readonly buffer Points { float points[]; };        // x y z, camera frame
layout(std430, binding = 1) readonly buffer Triangles { ivec4 triangles[]; };  // three vertices and the mesh

vec3 point_of(int vertex) {
    return vec3(points[3 * vertex], points[3 * vertex + 1], points[3 * vertex + 2]);
}

// Where the ray (x, y, 1) meets a triangle's plane (Möller and Trumbore): the corners' shares and the depth.
// Differences of corners come first, so that single precision is enough.
vec4 meet(ivec4 triangle, vec2 ray) {
    vec3 a = point_of(triangle.x), ab = point_of(triangle.y) - a, ac = point_of(triangle.z) - a;
    vec3 r = vec3(ray, 1.0), p = cross(r, ac), q = cross(-a, ab);
    float determinant = dot(p, ab);
    float u = dot(p, -a) / determinant, v = dot(r, q) / determinant, z = dot(ac, q) / determinant;
    // The rasteriser rounds corners to a fraction of a pixel: a pixel it counts in may lie just outside.
    float low = a.z + min(0.0, min(ab.z, ac.z)), high = a.z + max(0.0, max(ab.z, ac.z));
    return vec4(1.0 - u - v, u, v, clamp(z, low, high));
}
