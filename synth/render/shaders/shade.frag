#version 430
#include "geometry.glsl"
// Colour of every pixel hit, sRGB, as shading.py gives it. Where another mesh, a crease or nothing begins beside a pixel
// and its four samples in the fine picture differ, each is shaded and their display values are averaged; elsewhere one
// sample does.
const int MOST_LIGHTS = 8;
layout(std430, binding = 2) readonly buffer Meshes { ivec4 meshes[]; };  // instance, mip levels, first of them, gloss's bits
layout(std430, binding = 3) readonly buffer Vertices { float vertices[]; };  // normal (bed frame), colour, u v
layout(std430, binding = 4) readonly buffer Levels { ivec4 levels[]; };      // start, rows, columns, unused
layout(std430, binding = 5) readonly buffer Texels { uint texels[]; };       // sRGB, one byte a channel
layout(std430, binding = 6) readonly buffer Curve { float to_linear[]; };  // of display values 0 … 255, in equal steps
layout(std430, binding = 7) readonly buffer Faces { float faces[]; };        // unit normal, bed frame
uniform sampler2D hits;
uniform sampler2D fine_hits;
uniform sampler2D openness;
uniform bool antialias;
uniform float crease_cosine;
uniform vec2 focal;
uniform vec2 centre;
uniform vec2 size;
uniform vec3 sky;
uniform vec3 ground;
uniform int light_count;
uniform int shadow_count;  // the first of the lights cast shadows
uniform vec3 toward[MOST_LIGHTS];
uniform vec3 light_color[MOST_LIGHTS];
uniform sampler2DShadow shadow[MOST_LIGHTS];
uniform mat4 map_from_camera[MOST_LIGHTS];
uniform mat3 map_from_bed[MOST_LIGHTS];
uniform vec2 shadow_step[MOST_LIGHTS];   // along the normal and toward the light, m
uniform vec2 map_heights[MOST_LIGHTS];
uniform float map_texels[MOST_LIGHTS];
uniform mat3 bed_from_camera;
out vec4 color;

// The lit share under a 3×3 tent: four bilinear look-ups between the sixteen texels, weighted as the tent is.
float lit(int k, vec3 camera_point, vec3 offset) {
    vec3 place = (map_from_camera[k] * vec4(camera_point, 1.0)).xyz + map_from_bed[k] * offset;
    float depth = (map_heights[k].y - place.z - shadow_step[k].y) / (map_heights[k].y - map_heights[k].x);
    depth = clamp(depth, 0.0, 1.0);
    vec2 corner = floor(place.xy), f = place.xy - corner;
    vec2 low = (corner - 0.5 + 1.0 / (2.0 - f)) / map_texels[k], high = (corner + 1.5 + f / (1.0 + f)) / map_texels[k];
    vec2 low_weight = 2.0 - f, high_weight = 1.0 + f;
    float total = low_weight.x * low_weight.y * texture(shadow[k], vec3(low, depth));
    total += high_weight.x * low_weight.y * texture(shadow[k], vec3(high.x, low.y, depth));
    total += low_weight.x * high_weight.y * texture(shadow[k], vec3(low.x, high.y, depth));
    total += high_weight.x * high_weight.y * texture(shadow[k], vec3(high, depth));
    return total / 9.0;
}

vec3 texel(ivec4 level, ivec2 place) {
    uint bytes = texels[level.x + place.y * level.z + place.x];
    return vec3(bytes & 255u, (bytes >> 8) & 255u, bytes >> 16);
}

vec2 uv_of(int vertex) {
    return vec2(vertices[8 * vertex + 6], vertices[8 * vertex + 7]);
}

vec3 texture_color(ivec4 triangle, ivec4 mesh, vec3 share, vec2 ray, float z) {
    vec2 a = uv_of(triangle.x), b = uv_of(triangle.y), c = uv_of(triangle.z);
    vec2 uv = share.x * a + share.y * b + share.z * c;
    // Mip level: texels of the base picture that one pixel spans, from the triangle's areas in both.
    vec2 ab = b - a, ac = c - a;
    vec3 origin = point_of(triangle.x);
    vec3 across = cross(point_of(triangle.y) - origin, point_of(triangle.z) - origin);
    ivec4 base = levels[mesh.z];
    float span = abs(ab.x * ac.y - ac.x * ab.y) * float(base.y) * float(base.z) * z * z
        / (focal.x * focal.y * abs(dot(across, vec3(ray, 1.0))) + 1e-20);
    int chosen = int(clamp(0.5 * log2(max(span, 1e-6)) + 0.3, 0.0, float(mesh.y - 1)));
    ivec4 level = levels[mesh.z + chosen];
    ivec2 extent = level.zy;
    vec2 place = fract(uv) * vec2(extent) - 0.5;
    ivec2 first = ivec2(floor(place));
    vec2 f = place - vec2(first);
    ivec2 second = (first + 1) % extent;
    first = (first + extent) % extent;
    vec3 display = mix(
        mix(texel(level, first), texel(level, ivec2(second.x, first.y)), f.x),
        mix(texel(level, ivec2(first.x, second.y)), texel(level, second), f.x), f.y);
    ivec3 place_on_curve = ivec3(display * float(to_linear.length() - 1) / 255.0 + 0.5);
    return vec3(to_linear[place_on_curve.x], to_linear[place_on_curve.y], to_linear[place_on_curve.z]);
}

vec3 shade(int hit, vec2 place, float open) {
    ivec4 triangle = triangles[hit];
    ivec4 mesh = meshes[triangle.w];
    vec2 ray = (place - centre) / focal;
    vec4 met = meet(triangle, ray);
    vec3 albedo = vec3(0.0), normal = vec3(0.0);
    for (int corner = 0; corner < 3; ++corner) {
        int at = 8 * triangle[corner];
        normal += met[corner] * vec3(vertices[at], vertices[at + 1], vertices[at + 2]);
        albedo += met[corner] * vec3(vertices[at + 3], vertices[at + 4], vertices[at + 5]);
    }
    normal = normalize(normal);
    vec3 a = point_of(triangle.x);
    if (dot(a, cross(point_of(triangle.y) - a, point_of(triangle.z) - a)) > 0.0) normal = -normal;
    vec3 light = mix(ground, sky, 0.5 + 0.5 * normal.z) * open, gleam = vec3(0.0), mirrored = vec3(0.0);
    float shine = intBitsToFloat(mesh.w), fresnel = 0.0, sharpness = 4.0 + 120.0 * shine * shine;
    if (shine > 0.0) {
        vec3 eye = -normalize(bed_from_camera * vec3(ray, 1.0));
        float facing = max(0.0, dot(normal, eye));
        mirrored = 2.0 * facing * normal - eye;
        // Schlick's approximation for a dielectric; roughness takes from the grazing rise.
        fresnel = 0.04 + 0.96 * shine * pow(1.0 - facing, 5.0);
        gleam = shine * fresnel * mix(ground, sky, 0.5 + 0.5 * mirrored.z) * open;
    }
    for (int k = 0; k < light_count; ++k) {
        float cosine = dot(normal, toward[k]);
        if (cosine <= 0.0) continue;
        // Stepping off along the normal, more where the light grazes, keeps a surface from shadowing itself.
        if (k < shadow_count)
            cosine *= lit(k, met.w * vec3(ray, 1.0), shadow_step[k].x * (1.0 + 1.5 * (1.0 - cosine)) * normal);
        else  // a little of the occlusion reaches direct light too: the many small lights of a room are in it
            cosine *= 0.4 + 0.6 * open;
        light += cosine * light_color[k];
        float along = dot(mirrored, toward[k]);
        if (along > 0.0)  // Phong's lobe, normalised so that a sharper one is brighter
            gleam += cosine * fresnel * 0.5 * (sharpness + 2.0) * pow(along, sharpness) * light_color[k];
    }
    if (mesh.y > 0) albedo *= texture_color(triangle, mesh, met.xyz, ray, met.w);
    return light * albedo + gleam;
}

// Linear light to display values 0…1; a soft shoulder keeps bright linen from clipping.
vec3 display(vec3 light) {
    vec3 value = min(light / (1.0 + 0.25 * light), 1.0);
    return mix(12.92 * value, 1.055 * pow(max(value, 1e-6), vec3(1.0 / 2.4)) - 0.055, greaterThan(value, vec3(0.0031308)));
}

// Whether two triangles (−1: nothing) belong to different meshes or meet in a crease.
bool differ(int one, int other) {
    if (one == other) return false;
    if (one < 0 || other < 0 || triangles[one].w != triangles[other].w) return true;
    vec3 a = vec3(faces[3 * one], faces[3 * one + 1], faces[3 * one + 2]);
    vec3 b = vec3(faces[3 * other], faces[3 * other + 1], faces[3 * other + 2]);
    return dot(a, b) < crease_cosine;
}

int hit_at(ivec2 pixel) {
    return int(texelFetch(hits, clamp(pixel, ivec2(0), ivec2(size) - 1), 0).x);
}

bool on_outline(ivec2 pixel, int hit) {
    return differ(hit, hit_at(pixel - ivec2(1, 0))) || differ(hit, hit_at(pixel + ivec2(1, 0)))
        || differ(hit, hit_at(pixel - ivec2(0, 1))) || differ(hit, hit_at(pixel + ivec2(0, 1)));
}

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    int hit = hit_at(pixel);
    float open = texture(openness, (vec2(pixel) + 0.5) / size).x;
    ivec4 fine = ivec4(hit);
    if (antialias && on_outline(pixel, hit))
        for (int k = 0; k < 4; ++k) fine[k] = int(texelFetch(fine_hits, 2 * pixel + ivec2(k & 1, k >> 1), 0).x);
    vec3 total = vec3(0.0);
    if (differ(fine[0], fine[1]) || differ(fine[0], fine[2]) || differ(fine[0], fine[3])) {
        for (int k = 0; k < 4; ++k)
            if (fine[k] >= 0)
                total += 0.25 * display(shade(fine[k], vec2(pixel) + 0.5 * vec2(k & 1, k >> 1) - 0.25, open));
    } else if (hit >= 0) total = display(shade(hit, vec2(pixel), open));
    color = vec4(total, 1.0);
}
